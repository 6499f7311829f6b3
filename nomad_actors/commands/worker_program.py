"""Dramatiq's command line in a process that has imported the application: on Linux each worker is forked off it.

Importing takes seconds of CPU and most of a worker's memory: it is done once, and not once a process. The application
itself is made in the workers alone, where its threads and connections are used: they do not outlive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

from dramatiq import cli

from .. import logs
from ..app import prepare_workers
from ..processes.parent import end_with_parent
from ..processes.program import ProgramExit, settings_or_exit

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ..settings import Settings

logger = logs.get_logger("nomad_actors.commands.worker_program")

#: Elsewhere a process that has imported what it may not fork, say macOS' own frameworks, would not survive it.
_multiprocessing = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
_LOOK_SECONDS = 0.05


def check_workers() -> int:
    """Check what workers need besides Redis, in a process of its own; return how many threads each has.

    The application's own modules are imported there: whatever those begin ends with it. Exits as that process does when
    workers cannot start.
    """
    receiving, sending = _multiprocessing.Pipe(duplex=False)
    checking = _multiprocessing.Process(target=_check, args=(sending,))
    checking.start()
    sending.close()
    try:
        # What the modules started may hold the other end of the pipe open.
        while not receiving.poll(_LOOK_SECONDS) and checking.is_alive():
            pass
        answer: tuple[int, int] | None = receiving.recv() if receiving.poll() else None
    except EOFError:
        answer = None
    finally:
        checking.kill()
        if checking.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(checking.pid, signal.SIGKILL)
        checking.join()
    if answer is None:
        logger.critical(f"cannot start: the process that checks what workers need {_end_of(checking.exitcode)}")
        raise ProgramExit(1)
    code, threads = answer
    if code:
        raise ProgramExit(code)
    return threads


def _check(sending: Connection) -> None:
    """Send an exit code and a worker's number of threads."""
    # A group of its own, which ends with it: Ctrl-C is the main process' affair.
    os.setpgrp()
    end_with_parent()
    code, threads = 1, 0
    try:
        with settings_or_exit() as settings:
            threads = prepare_workers(settings)
        code = 0
    except ProgramExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    logs.finish_lines()
    sending.send((code, threads))
    # Not as a process usually ends: it would wait for the threads and processes that the modules began.
    os._exit(code)


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"was killed by {name}" + (": perhaps the machine is out of memory" if name == "SIGKILL" else "")
    return f"ended with {exit_code}, as a module in NOMAD_MODULES made it"


def run(settings: Settings, *, processes: int, threads: int) -> int:
    """Run workers until this process is told to stop; return its exit code."""
    # What workers print comes through this process as finished lines.
    logs.restore_streams()
    # What Dramatiq runs in this one's place when SIGHUP asks it to load everything anew.
    sys.argv = [sys.executable, "-m", "nomad_actors.cli", "run", "workers", "--processes", str(processes)]
    # What is here now stays: a collection would write to every page of it, and each worker would have its own.
    gc.collect()
    gc.freeze()
    arguments = [
        "nomad_actors.app:worker_broker",
        *("--processes", str(processes)),
        *("--threads", str(threads)),
        "--skip-logging",
        # How long the main process waits for a worker that died while it booted, before it looks.
        *("--worker-fork-timeout", "5000"),
        *("--worker-shutdown-timeout", str(settings.shutdown_ms)),
    ]
    code: int = cli.main(cli.make_argument_parser().parse_args(arguments))
    return code
