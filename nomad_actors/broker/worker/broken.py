"""Ends a worker that cannot go on because one of its essential threads ended.

Dramatiq's command line gives a worker its own process: that process exits at once, with a code other than 0, so that
its supervisor starts another. A Worker inside an application's process is only stopped: the process may do more than
run jobs, and may start another Worker. In both cases the running jobs cannot be settled; the heartbeats have stopped,
and other workers take these jobs over within a lease.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from dramatiq import Worker
from dramatiq.middleware import Shutdown

from .interrupts import strike
from .session import Session
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker")

#: EX_SOFTWARE of sysexits.h.
EXIT_BROKEN = 70
#: How long middleware may take to save its data.
FLUSH_SECONDS = 5.0


def end_process(flush: Callable[[], None]) -> None:
    """Exit this process with `EXIT_BROKEN` after calling `flush`, which may take a few seconds."""

    def finish() -> None:
        try:
            flush()
        finally:
            logging.shutdown()

    flushing = threading.Thread(target=finish, name="nomad-flush", daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    # Not `sys.exit`, which ends only a thread: the broken one may keep the main thread from ending.
    os._exit(EXIT_BROKEN)


def stop_worker(worker: Worker, session: Session) -> None:
    """Stop a Worker inside an application's process and interrupt its running jobs."""
    for lease in session.running():
        strike(lease, Shutdown)
    try:
        worker.stop(timeout=int(FLUSH_SECONDS * 1000))
    except BaseException:
        logger.critical("the broken worker did not stop", exc_info=True)
