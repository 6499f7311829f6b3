"""The middleware of a broker, in order, with the reason for each position.

`before_…` hooks run from the first to the last, `after_…` hooks from the last to the first: the first is the outermost.
"""

from __future__ import annotations

from dramatiq import Broker, MessageProxy, Middleware
from dramatiq.middleware import AgeLimit, Callbacks, Pipelines, Retries, ShutdownNotifications, TimeLimit
from periodiq import PeriodiqMiddleware

from ..logs.error_reports import FLUSH_SECONDS
from ..settings import Settings
from .job_context import JobContext
from .job_log import JobLog
from .metrics import Metrics
from .sentry import Sentry


def middleware_for(settings: Settings) -> list[Middleware]:
    """Return the middleware for one broker, newly made."""
    # Sending reports may take at most a fifth of the time that a stop may take.
    flush_seconds = min(FLUSH_SECONDS, settings.shutdown_ms / 5000)
    return [
        # Outermost: every line that the others log about a job names that job, and the facts are cleared last.
        JobContext(),
        # Before every middleware that may skip a job, so that each event is counted. At boot its hook runs last:
        # a worker that Prometheus sees is ready.
        Metrics(port=settings.metrics_port, host=settings.metrics_host, hosts=settings.metrics_hosts),
        # Next to the metrics: both report the same about a run.
        JobLog(log_format=settings.log_format, log_level=settings.log_level),
        # Before Retries: its after hook runs when Retries has decided whether the job failed permanently.
        *([Sentry(settings.sentry_dsn.get_secret_value(), flush_seconds=flush_seconds)] if settings.sentry_dsn else []),
        # It only declares an option; any position would do.
        PeriodicOption(),
        # From here on Dramatiq's own middleware, in Dramatiq's order. A job that is too old is not timed.
        AgeLimit(),
        # The time limit starts as close to the actor as possible.
        TimeLimit(),
        ShutdownNotifications(),
        # After the actor these run before the two above, while the time limit still counts, and after Retries: they use
        # only the result and the exception, which Retries does not change.
        Callbacks(),
        Pipelines(),
        # Innermost, so that all others see its decision. Its values apply to actors that do not set their own.
        Retries(max_retries=settings.max_retries - 1, min_backoff=max(1, settings.retry_delay_ms)),
    ]


class PeriodicOption(PeriodiqMiddleware):  # type: ignore[misc]  # periodiq ships no types
    """Declares the option `periodic` and skips no message.

    periodiq 0.14.0 skips a message that starts more than 30 s late, which silently drops every run that waited behind
    others and every retry.
    """

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Do nothing: the message runs, however late."""
