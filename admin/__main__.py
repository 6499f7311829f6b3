"""The program `python -m admin`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nomad_actors import logs
from nomad_actors.app import AdminAccess, open_admin, redis_missing
from nomad_actors.errors import Unavailable
from nomad_actors.logs import error_reports
from nomad_actors.processes import private_files
from nomad_actors.processes.program import begin, settings_or_exit
from nomad_actors.queues.bulk import Runner
from nomad_actors.settings.addresses import local_url
from nomad_actors.settings.admin_tokens import require_tokens_beyond_loopback
from nomad_actors.store import local_token

from . import serve, web

logger = logs.get_logger("admin")

#: The deadline of a command: callers get an error within two seconds when Redis does not answer.
REDIS_DEADLINE_MS = 1500


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the admin until SIGTERM or SIGINT. Exits with code 2 for wrong settings and 78 when its port is taken."""
    parser = argparse.ArgumentParser(prog="python -m admin", description="Serve the admin: JSON API and pages.")
    parser.add_argument(
        "--ready-file", type=Path, metavar="PATH", help="write the base URL to PATH when the admin is ready"
    )
    options = parser.parse_args(arguments)
    with settings_or_exit() as settings:
        begin(settings)
        require_tokens_beyond_loopback(settings)
        app = open_admin(settings, caller_deadline_ms=REDIS_DEADLINE_MS)
        listener = serve.listen(settings.admin_host, settings.admin_port)
    url = local_url(*listener.getsockname()[:2])
    runner = Runner(app.queues)

    def ready() -> None:
        error_reports.start(settings.sentry_dsn.get_secret_value(), service="admin")
        # A read-only admin changes nothing: it does not continue bulk operations of other admins either.
        if not settings.admin_read_only:
            runner.start()
        try:
            app.store.ping()
        except Unavailable as error:
            # The admin starts anyway: requests that need the database get a 503 with this text, all others work.
            logger.warning(str(error))
        logger.info("admin started", url=f"{url}{settings.admin_prefix}/admin/")
        _offer_login(app, url)
        if options.ready_file is not None:
            private_files.write(options.ready_file, f"{url}\n")
        try:
            app.broker.ping()
        except Unavailable as error:
            # The admin starts anyway: it answers 503 until Redis is back.
            logger.warning(redis_missing(settings, error))

    # Requests get half of the time: the current step of a bulk operation and the error reports need the rest.
    graceful_seconds = min(serve.GRACEFUL_SECONDS, settings.shutdown_ms / 2000)
    serve.serve(web.create_app(app), listener, on_ready=ready, graceful_seconds=graceful_seconds)
    runner.close()
    error_reports.flush()
    app.close()
    logger.info("admin stopped")


def _offer_login(app: AdminAccess, url: str) -> None:
    settings = app.settings
    if settings.admin_tokens:
        return
    try:
        link = local_token.new_link(settings.var_dir, url + settings.admin_prefix, app.clock.now_ms())
    except local_token.NoLocalToken as error:
        logger.error("nobody can log in", error=str(error))
        return
    logger.info(
        "open this link to log in; it works once, and `nomad admin link` prints a new one",
        url=link,
        valid_minutes=local_token.LINK_MINUTES,
    )


if __name__ == "__main__":
    main()
