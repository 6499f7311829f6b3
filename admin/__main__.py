"""The admin as a program: `python -m admin`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nomad_actors import logs
from nomad_actors.app import AdminAccess, open_admin, redis_missing
from nomad_actors.errors import Unavailable
from nomad_actors.logs import error_reports
from nomad_actors.processes.program import begin, settings_or_exit
from nomad_actors.queues.bulk import Runner
from nomad_actors.settings.admin_tokens import require_tokens_beyond_loopback
from nomad_actors.store import local_token

from . import serve, web

logger = logs.get_logger("admin")

#: Whoever asks learns within two seconds that Redis does not answer.
REDIS_DEADLINE_MS = 1500


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the admin until SIGTERM or SIGINT; exits with 2 for wrong settings, with 78 when its port is taken."""
    options = _parser().parse_args(arguments)
    with settings_or_exit() as settings:
        begin(settings)
        require_tokens_beyond_loopback(settings)
        app = open_admin(settings, caller_deadline_ms=REDIS_DEADLINE_MS)
        listener = serve.listen(settings.admin_host, settings.admin_port)
    url = serve.base_url(listener)
    runner = Runner(app.queues)

    def ready() -> None:
        error_reports.start(settings.sentry_dsn.get_secret_value(), service="admin")
        # A read-only admin changes nothing, also not what others have begun.
        if not settings.admin_read_only:
            runner.start()
        try:
            app.store.ping()
        except Unavailable as error:
            # It serves all the same: what needs no database works, the rest answers 503 with this sentence.
            logger.warning(str(error))
        logger.info("the admin is served", url=f"{url}{settings.admin_prefix}/admin/")
        _offer_login(app, url)
        if options.ready_file is not None:
            serve.write_ready_file(options.ready_file, url)
        try:
            app.queues.ping()
        except Unavailable as error:
            # It serves all the same, says so in every answer, and works as soon as Redis does.
            logger.warning(redis_missing(settings, error))

    # Half of the time for requests: a bulk operation's step and the reports end in the rest.
    graceful_seconds = min(serve.GRACEFUL_SECONDS, settings.shutdown_ms / 2000)
    serve.serve(web.create_app(app), listener, on_ready=ready, graceful_seconds=graceful_seconds)
    runner.close()
    error_reports.flush()
    app.close()
    logger.info("admin stopped")


def _offer_login(app: AdminAccess, url: str) -> None:
    """Say a one-time link where no tokens are configured: for whoever sees this start, and nobody after them."""
    settings = app.settings
    if settings.admin_tokens:
        return
    try:
        link = local_token.new_link(settings.var_dir, url + settings.admin_prefix, app.clock.now_ms())
    except local_token.NoLocalToken as error:
        logger.error("nobody can log in", error=str(error))
        return
    logger.info(
        "this link logs you in, once; `nomad admin link` prints another",
        url=link,
        valid_minutes=local_token.LINK_MINUTES,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m admin", description="Serve the admin: JSON API and pages.")
    parser.add_argument(
        "--ready-file", type=Path, metavar="PATH", help="write the base URL to PATH once requests are answered"
    )
    return parser


if __name__ == "__main__":
    main()
