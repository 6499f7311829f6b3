"""Dramatiq's command line in a process that has imported the application; on Linux each worker is forked from it.

The import takes seconds of CPU and most of a worker's memory, so it is done once, not in each process. Only the workers
create the application, because its threads and connections do not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection

from dramatiq import cli

from .. import logs
from ..app import prepare_workers
from ..logs.setup import finish_lines, restore_streams
from ..processes.parent import end_with_parent
from ..processes.program import ProgramExit, settings_or_exit
from ..settings import Settings

logger = logs.get_logger("nomad_actors.commands.worker_program")

#: On other systems a fork may crash after some imports, such as macOS' frameworks.
_multiprocessing = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
_POLL_SECONDS = 0.05


def check_workers() -> int:
    """Check in a separate process what workers need besides Redis, and return the number of threads per worker.

    That process imports the modules of NOMAD_MODULES, so the threads and processes they start end with it. If workers
    cannot start, exit with its exit code.
    """
    receiving, sending = _multiprocessing.Pipe(duplex=False)
    checking = _multiprocessing.Process(target=_check, args=(sending,))
    checking.start()
    sending.close()
    try:
        # Processes started by the modules may hold the other end of the pipe open.
        while not receiving.poll(_POLL_SECONDS) and checking.is_alive():
            pass
        result: tuple[int, int] | None = receiving.recv() if receiving.poll() else None
    except EOFError:
        result = None
    finally:
        checking.kill()
        if checking.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(checking.pid, signal.SIGKILL)
        checking.join()
    if result is None:
        logger.critical(f"cannot start: the process that checks what workers need {_end_of(checking.exitcode)}")
        raise ProgramExit(1)
    code, threads = result
    if code:
        raise ProgramExit(code)
    return threads


def _check(sending: Connection) -> None:
    """Send an exit code and a worker's number of threads."""
    # A separate group, so it can be killed as one, and Ctrl-C reaches only the main process.
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
    finish_lines()
    sending.send((code, threads))
    # A normal exit would wait for the threads and processes that the modules started.
    os._exit(code)


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"was killed by {name}" + (": perhaps the machine is out of memory" if name == "SIGKILL" else "")
    return f"exited with {exit_code}, which a module in NOMAD_MODULES caused"


def run(settings: Settings, *, processes: int, threads: int) -> int:
    """Run workers until this process is told to stop; return its exit code."""
    # The output of workers passes through this process as formatted lines.
    restore_streams()
    # On SIGHUP Dramatiq replaces this process with this command.
    sys.argv = [sys.executable, "-m", "nomad_actors.cli", "run", "workers", "--processes", str(processes)]
    # Exclude everything imported from garbage collection, which would write to its pages, so that each worker would
    # copy them.
    gc.collect()
    gc.freeze()
    arguments = [
        "nomad_actors.app:worker_broker",
        *("--processes", str(processes)),
        *("--threads", str(threads)),
        "--skip-logging",
        # How long the main process waits before it checks for workers that died during their start.
        *("--worker-fork-timeout", "5000"),
        *("--worker-shutdown-timeout", str(settings.shutdown_ms)),
    ]
    code: int = cli.main(cli.make_argument_parser().parse_args(arguments))
    return code
