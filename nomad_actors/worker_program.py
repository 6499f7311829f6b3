"""Dramatiq's command line in a process that has imported the application: each worker is forked off it.

Importing takes seconds of CPU and most of a worker's memory: it is done once, and not once a process. The application
itself is made in the workers alone, where its threads and connections are used: they do not outlive a fork.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
from typing import TYPE_CHECKING

from dramatiq import cli

from . import log
from .app import prepare_workers
from .metrics.process_files import withdraw
from .processes import end_with_parent
from .program import ProgramExit, settings_or_exit

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from .settings import Settings

_fork = multiprocessing.get_context("fork")


def threads_of_a_worker() -> int:
    """Check what workers need besides Redis, in a process of its own; return a worker's threads.

    The application's own modules are imported there. Exits as that process does when workers cannot start.
    """
    receiving, sending = _fork.Pipe(duplex=False)
    checking = _fork.Process(target=_check, args=(sending,))
    checking.start()
    sending.close()
    try:
        threads: int | None = receiving.recv()
    except EOFError:
        threads = None
    checking.join()
    if threads is None or checking.exitcode:
        raise ProgramExit(max(1, checking.exitcode or 1))
    return threads


def _check(sending: Connection) -> None:
    end_with_parent()
    with settings_or_exit() as settings:
        threads = prepare_workers(settings)
        if settings.metrics_dir is not None:
            withdraw(settings.metrics_dir)
    sending.send(threads)


def run(settings: Settings, counts_dir: Path | None, *, processes: int, threads: int) -> int:
    """Run workers, which keep counts in `counts_dir`, until this process is told to stop; return its exit code."""
    if counts_dir is not None:
        withdraw(counts_dir)
    # What workers print comes through this process as finished lines.
    log.print_as_it_is()
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
