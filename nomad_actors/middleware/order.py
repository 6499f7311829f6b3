"""The middleware of a broker, in order, with the reason for each place.

What happens before (`before_…`) goes down the list, what happens after (`after_…`) goes up: the first is the outermost.
"""

from __future__ import annotations

from dramatiq import Middleware
from dramatiq.middleware import AgeLimit, Callbacks, Pipelines, Retries, ShutdownNotifications, TimeLimit

from ..logs.error_reports import FLUSH_SECONDS
from ..settings import Settings
from .job_context import JobContext
from .job_log import JobLog
from .metrics import Metrics
from .periodic_option import PeriodicOption
from .sentry import Sentry


def middleware_for(settings: Settings) -> list[Middleware]:
    """Return new middleware for one broker."""
    return [
        # Outermost, so that every line of the others about a job says which one, and the facts go last of all.
        JobContext(),
        # Before all that may skip a job, so that none of them can keep an event from being counted. At boot the last:
        # a worker that Prometheus sees is ready.
        Metrics(port=settings.metrics_port, host=settings.metrics_host, hosts=settings.metrics_hosts),
        # Beside the metrics: the two say the same of a run.
        JobLog(log_format=settings.log_format, log_level=settings.log_level),
        # Before Retries, so that it looks after Retries has decided whether the job failed for good.
        *([_sentry(settings)] if settings.sentry_dsn else []),
        # It only declares an option; any place would do.
        PeriodicOption(),
        # From here on Dramatiq's own, in Dramatiq's own order. A job that is too old is not timed.
        AgeLimit(),
        # The clock starts as near to the actor as it can.
        TimeLimit(),
        ShutdownNotifications(),
        # After the actor these run before the two above, with the time limit still counting, and after Retries:
        # what they look at, the result and the exception, Retries leaves alone.
        Callbacks(),
        Pipelines(),
        # Innermost, so that all others see its decision. Its numbers are for actors that say nothing themselves.
        Retries(max_retries=settings.max_retries - 1, min_backoff=max(1, settings.retry_delay_ms)),
    ]


def _sentry(settings: Settings) -> Sentry:
    """Return the reports' middleware; where little time is given to a stop, little of it is theirs."""
    return Sentry(settings.sentry_dsn.get_secret_value(), flush_seconds=min(FLUSH_SECONDS, settings.shutdown_ms / 5000))
