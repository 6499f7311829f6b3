"""`nomad run`: the programs of the system, one or all."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .. import logs
from ..errors import CannotStart, Unavailable
from ..processes.program import ProgramExit, begin, settings_or_exit
from ..settings.admin_tokens import require_tokens_beyond_loopback
from ..settings.contact import require_contact
from ..settings.secret_url import SecretUrl

if TYPE_CHECKING:
    from ..processes.supervisor import Supervisor
    from ..settings import Settings

run = typer.Typer(help="Run one program of the system, or all.", no_args_is_help=True)

logger = logs.get_logger("nomad_actors.cli")

#: Added to NOMAD_SHUTDOWN_MS for the programs that stop after the workers.
STOP_MARGIN_SECONDS = 5.0
SAME_SIGNAL_SECONDS = 0.5


@run.command()
def workers(
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes; each has all threads.")] = 1,
) -> None:
    """Run workers: Dramatiq's command line. Each process has as many threads as the queues' concurrency in total."""
    with settings_or_exit() as settings:
        begin(settings)
        from . import worker_program

        threads = worker_program.check_workers()
    raise ProgramExit(worker_program.run(settings, processes=processes, threads=threads))


@run.command()
def scheduler() -> None:
    """Run the scheduler."""
    _become("nomad_actors.scheduler")


@run.command()
def admin() -> None:
    """Run the admin's API and pages."""
    _become("admin")


@run.command(name="all")
def everything() -> None:
    """Run workers, scheduler and admin, and restart those that die. Without REDIS_* it also runs a Redis in var/."""
    with settings_or_exit() as settings:
        begin(settings)
        require_tokens_beyond_loopback(settings)
        require_contact(settings)
        environ = dict(os.environ)
        from ..processes.own_redis import own_redis
        from ..processes.supervisor import Supervisor

        _check_workers(settings)
        redis_names = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB")
        redis = None if any(map(environ.get, redis_names)) else own_redis(settings.var_dir)
        if redis is not None:
            settings = dataclasses.replace(settings, redis_url=SecretUrl(redis.url))
            environ["REDIS_URL"] = redis.url
    _warn_without_client_id(settings)
    supervisor = Supervisor()
    if redis is not None:
        supervisor.add("redis", redis.command(), environ, dependency=redis, pass_fds=redis.inherited_fds())
    # The command, because it logs in one line why workers cannot start.
    supervisor.add("workers", [sys.executable, "-m", "nomad_actors.cli", "run", "workers"], environ)
    scheduler_environ = {**environ, **_scheduler_port(settings)}
    supervisor.add("scheduler", [sys.executable, "-m", "nomad_actors.scheduler"], scheduler_environ)
    supervisor.add("admin", [sys.executable, "-m", "admin"], environ)
    _run_until_stopped(supervisor, settings)


def _check_workers(settings: Settings) -> None:
    from ..app import prepare_workers

    # Redis or the database may come back: the programs are restarted until then.
    try:
        prepare_workers(settings)
    except CannotStart:
        raise
    except Unavailable as error:
        logger.warning(str(error))


def _scheduler_port(settings: Settings) -> dict[str, str]:
    """Return the scheduler's metrics port, one above the workers', if that is set."""
    port = settings.metrics_port
    return {"NOMAD_METRICS_PORT": str(port + 1 if port < 65535 else port - 1)} if port else {}


def _become(module: str) -> NoReturn:
    # Signals must reach the program itself.
    os.execv(sys.executable, [sys.executable, "-m", module])


def _warn_without_client_id(settings: Settings) -> None:
    if settings.sso_base_url == type(settings)().sso_base_url and not settings.eve_client_id:
        logger.warning(
            "characters cannot be refreshed yet: set EVE_CLIENT_ID (and EVE_CLIENT_SECRET) of an application "
            "registered with CCP, then run `nomad login` for each character"
        )


def _run_until_stopped(supervisor: Supervisor, settings: Settings) -> None:
    signals = _StopSignals()
    try:
        supervisor.start()
        while not signals.stop:
            if not supervisor.watches():
                logger.critical("the thread that watches the programs ended: stopping")
                raise ProgramExit(1)
            time.sleep(0.1)
        supervisor.stop(settings.shutdown_ms / 1000 + STOP_MARGIN_SECONDS, at_once=lambda: signals.at_once)
    finally:
        supervisor.kill()


class _StopSignals:
    """Records SIGINT and SIGTERM: the first means stop, a later one means stop at once.

    The handler does nothing else, because the code that it interrupts may hold a lock. `make` repeats a signal that its
    process group already got, so two in quick succession count as one.
    """

    def __init__(self) -> None:
        self.stop = self.at_once = False
        self._first_mono = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._record)

    def _record(self, number: int, _: FrameType | None) -> None:
        if not self.stop:
            self.stop, self._first_mono = True, time.monotonic()
        elif time.monotonic() - self._first_mono > SAME_SIGNAL_SECONDS:
            self.at_once = True
