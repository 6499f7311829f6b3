"""The `nomad` command: runs the parts one by one or all together, and logs a character in."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from . import log
from .app import create_app, settings_or_exit, worker_threads
from .commands import token
from .local_redis import LocalRedis
from .login import ALL_SCOPES, log_in
from .settings import Settings
from .supervisor import Supervisor

app = typer.Typer(
    help="EVE Nomad's background jobs.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
run = typer.Typer(help="Run a part of the system, or all of it.", no_args_is_help=True)
app.add_typer(run, name="run")
app.command()(token.token)

logger = log.get_logger("nomad_actors.cli")

#: Beyond NOMAD_SHUTDOWN_MS: what stops after the workers.
STOP_MARGIN_SECONDS = 5.0
SAME_SIGNAL_SECONDS = 0.5


@run.command()
def workers() -> None:
    """Run one worker process: Dramatiq's own command line, with a thread for each place of each queue."""
    with settings_or_exit() as settings:
        threads = worker_threads(settings)
    _become("dramatiq", *_worker_arguments(threads, settings))


@run.command()
def scheduler() -> None:
    """Run the scheduler."""
    _become(sys.executable, "-m", "nomad_actors.scheduler")


@run.command()
def admin() -> None:
    """Run the admin's API and pages."""
    _become(sys.executable, "-m", "admin")


@run.command(name="all")
def everything() -> None:
    """Run workers, scheduler and admin; what dies is started again. Without REDIS_* it brings a Redis in var/."""
    with settings_or_exit() as settings:
        log.configure(settings.log_format, settings.log_level)
        environ = dict(os.environ)
        redis = None if _redis_is_given(environ) else LocalRedis(settings.var_dir / "redis", append_only=True)
        if redis is not None:
            settings = dataclasses.replace(settings, redis_url=redis.url)
            environ["REDIS_URL"] = redis.url
        threads = worker_threads(settings)
    _say_what_is_missing(settings)
    supervisor = Supervisor()
    supervisor.add("workers", [_beside("dramatiq"), *_worker_arguments(threads, settings)], environ)
    supervisor.add("scheduler", [sys.executable, "-m", "nomad_actors.scheduler"], environ)
    supervisor.add("admin", [sys.executable, "-m", "admin"], environ)
    _run_until_told(supervisor, redis, settings)


@app.command()
def login(
    user_id: Annotated[int, typer.Option(help="The user that the character belongs to.")] = 1,
    port: Annotated[
        int, typer.Option(help="The port of the callback; it is part of the URL registered at CCP.")
    ] = 8017,
) -> None:
    """Log a character in: prints the address to open, waits for the answer, keeps the login encrypted."""
    with settings_or_exit() as settings:
        log.configure(settings.log_format, settings.log_level)
        if not settings.eve_client_id:
            raise typer.BadParameter(
                f"EVE_CLIENT_ID is not set: register an application at CCP with the callback "
                f"http://127.0.0.1:{port}/callback and the scopes you want, then set its client id"
            )
        application = create_app(settings)
    try:
        character = log_in(application, user_id=user_id, port=port, scopes=ALL_SCOPES, say=typer.echo)
    finally:
        application.close()
    typer.echo(f"{character} is logged in.")


def main() -> None:
    """Run the command."""
    app()


def _worker_arguments(threads: int, settings: Settings) -> list[str]:
    return [
        "nomad_actors.app:worker_broker",
        *("--processes", "1"),
        *("--threads", str(threads)),
        "--skip-logging",
        # How long the main process waits for a worker that died while it booted, before it looks.
        *("--worker-fork-timeout", "5000"),
        *("--worker-shutdown-timeout", str(settings.shutdown_ms)),
    ]


def _become(program: str, *arguments: str) -> NoReturn:
    """Replace this process, so that signals reach the program itself."""
    path = program if os.path.isabs(program) else _beside(program)
    sys.stdout.flush()
    os.execvp(path, [path, *arguments])


def _beside(program: str) -> str:
    """Return the program that was installed with this Python, else the one on the path."""
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.exists() else program


def _redis_is_given(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB"))


def _say_what_is_missing(settings: Settings) -> None:
    real = Settings().sso_base_url
    if settings.sso_base_url == real and not settings.eve_client_id:
        logger.warning(
            "no character can be refreshed yet: set EVE_CLIENT_ID (and EVE_CLIENT_SECRET) of an application "
            "registered at CCP, then run `nomad login` for each character"
        )


def _run_until_told(supervisor: Supervisor, redis: LocalRedis | None, settings: Settings) -> None:
    told = _Told()
    if redis is not None:
        redis.start()
        logger.info("own Redis started", url=redis.url, directory=str(redis.directory))
    try:
        supervisor.start()
        while not told.to_stop:
            time.sleep(0.1)
        supervisor.stop(settings.shutdown_ms / 1000 + STOP_MARGIN_SECONDS, at_once=lambda: told.at_once)
    finally:
        supervisor.kill()
        if redis is not None:
            redis.stop()


class _Told:
    """Notes SIGINT and SIGTERM: the first means stop, one that comes a while later means at once.

    The handler does nothing else: what it interrupts may hold a lock. `make` passes a signal on that its whole group
    got already, so two in quick succession are one.
    """

    def __init__(self) -> None:
        self.to_stop = self.at_once = False
        self._first_mono = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if not self.to_stop:
            self.to_stop, self._first_mono = True, time.monotonic()
        elif time.monotonic() - self._first_mono > SAME_SIGNAL_SECONDS:
            self.at_once = True


if __name__ == "__main__":
    main()
