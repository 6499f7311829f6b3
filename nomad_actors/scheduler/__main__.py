"""The scheduler as a program: `python -m nomad_actors.scheduler`. Like every entry point, it may import `app`."""

from __future__ import annotations

import signal

from .. import logs
from ..app import open_queues, require_redis
from ..logs import error_reports
from ..metrics.definitions import REGISTRY, SCHEDULER
from ..metrics.exposition import joined
from ..metrics.server import serve_or_log
from ..processes.program import begin, settings_or_exit
from ..settings.contact import require_contact
from .book import Schedules
from .process import SlotScheduler

#: The port of the scheduler's metrics if NOMAD_METRICS_PORT is not set.
DEFAULT_METRICS_PORT = 9192

logger = logs.get_logger("nomad_actors.scheduler")


def main() -> None:
    """Fire the schedules until SIGTERM or SIGINT; exit with the codes of `settings_or_exit` and `require_redis`."""
    with settings_or_exit() as settings:
        begin(settings)
        require_contact(settings)
        # The scheduler adds jobs and runs none, so it needs no token key, no database and no client secret.
        app = open_queues(settings)
    error_reports.start(settings.sentry_dsn.get_secret_value(), service="scheduler")
    require_redis(app)
    scheduler = SlotScheduler(Schedules(app.queues), app.queues.schedules(), app.clock)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stop())
    port = DEFAULT_METRICS_PORT if settings.metrics_port is None else settings.metrics_port
    registry = joined(REGISTRY, SCHEDULER)
    metrics = serve_or_log(port, registry, settings.metrics_host, service="scheduler", hosts=settings.metrics_hosts)
    with error_reports.reporting({}):
        scheduler.run()
    if metrics is not None:
        metrics.close()
    app.close()
    logger.info("scheduler stopped")


if __name__ == "__main__":
    main()
