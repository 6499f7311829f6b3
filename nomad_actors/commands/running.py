"""`nomad run`: the parts of the system, one by one or all together."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .. import logs
from ..errors import CannotStart, Unavailable
from ..processes.program import ProgramExit, begin, settings_or_exit
from ..settings.admin_tokens import require_tokens_beyond_loopback
from ..settings.secret_url import SecretUrl

if TYPE_CHECKING:
    from ..processes.supervisor import Supervisor
    from ..settings import Settings

run = typer.Typer(help="Run a part of the system, or all of it.", no_args_is_help=True)

logger = logs.get_logger("nomad_actors.cli")

#: Beyond NOMAD_SHUTDOWN_MS: what stops after the workers.
STOP_MARGIN_SECONDS = 5.0
SAME_SIGNAL_SECONDS = 0.5


@run.command()
def workers(
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes, each with all the threads.")] = 1,
) -> None:
    """Run workers: Dramatiq's own command line, with a thread a process for each place of each queue."""
    with settings_or_exit() as settings:
        begin(settings)
        from . import worker_program

        threads = worker_program.check_workers()
    raise ProgramExit(worker_program.run(settings, processes=processes, threads=threads))


@run.command()
def scheduler() -> None:
    """Run the scheduler."""
    _become([sys.executable, "-m", "nomad_actors.scheduler"], os.environ)


@run.command()
def admin() -> None:
    """Run the admin's API and pages."""
    _become([sys.executable, "-m", "admin"], os.environ)


@run.command(name="all")
def everything() -> None:
    """Run workers, scheduler and admin; what dies is started again. Without REDIS_* it brings a Redis in var/."""
    with settings_or_exit() as settings:
        begin(settings)
        require_tokens_beyond_loopback(settings)
        environ = dict(os.environ)
        from ..app import prepare_workers
        from ..processes.own_redis import own_redis
        from ..processes.supervisor import Supervisor

        _stop_if_never(lambda: prepare_workers(settings))
        redis = None if _redis_is_given(environ) else own_redis(settings.var_dir)
        if redis is not None:
            settings = dataclasses.replace(settings, redis_url=SecretUrl(redis.url))
            environ["REDIS_URL"] = redis.url
    _say_what_is_missing(settings)
    supervisor = Supervisor()
    if redis is not None:
        supervisor.add("redis", redis.command(), environ, dependency=redis, pass_fds=redis.inherited_fds())
    # As the command, which says in one line why workers cannot start, before Dramatiq does.
    supervisor.add("workers", [sys.executable, "-m", "nomad_actors.cli", "run", "workers"], environ)
    scheduler_environ = {**environ, **_beside_workers(settings)}
    supervisor.add("scheduler", [sys.executable, "-m", "nomad_actors.scheduler"], scheduler_environ)
    supervisor.add("admin", [sys.executable, "-m", "admin"], environ)
    _run_until_stopped(supervisor, settings)


def _stop_if_never(check: Callable[[], object]) -> None:
    """Raise what only somebody can mend; what may pass by itself is left to the parts, which are started again."""
    try:
        check()
    except CannotStart:
        raise
    except Unavailable as error:
        logger.warning(str(error))


def _beside_workers(settings: Settings) -> dict[str, str]:
    """Return where the scheduler's metrics are when the workers' are moved: on the next port, or the next free one."""
    port = settings.metrics_port
    return {"NOMAD_METRICS_PORT": str(port + 1 if port < 65535 else port - 1)} if port else {}


def _become(command: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process, so that signals reach the program itself."""
    os.execve(command[0], command, environ)


def _redis_is_given(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB"))


def _say_what_is_missing(settings: Settings) -> None:
    if settings.sso_base_url == type(settings)().sso_base_url and not settings.eve_client_id:
        logger.warning(
            "no character can be refreshed yet: set EVE_CLIENT_ID (and EVE_CLIENT_SECRET) of an application "
            "registered at CCP, then run `nomad login` for each character"
        )


def _run_until_stopped(supervisor: Supervisor, settings: Settings) -> None:
    signals = _StopSignals()
    try:
        supervisor.start()
        while not signals.stop:
            if not supervisor.watches():
                logger.critical("nobody watches the programs any more: ending")
                raise ProgramExit(1)
            time.sleep(0.1)
        supervisor.stop(settings.shutdown_ms / 1000 + STOP_MARGIN_SECONDS, at_once=lambda: signals.at_once)
    finally:
        supervisor.kill()


class _StopSignals:
    """Notes SIGINT and SIGTERM: the first means stop, one that comes a while later means at once.

    The handler does nothing else: what it interrupts may hold a lock. `make` passes a signal on that its whole group
    got already, so two in quick succession are one.
    """

    def __init__(self) -> None:
        self.stop = self.at_once = False
        self._first_mono = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.stop:
            self.stop, self._first_mono = True, time.monotonic()
        elif time.monotonic() - self._first_mono > SAME_SIGNAL_SECONDS:
            self.at_once = True
