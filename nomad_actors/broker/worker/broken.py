"""How a worker ends that cannot go on, since a thread is gone that it cannot do without.

Dramatiq's command line gives a worker a process of its own: that process ends at once, with a code that is not 0, so
that whoever watches over it starts another. A Worker inside an application's own process is stopped and nothing else:
the process may do more than run jobs, and may start another Worker. Either way nothing that still runs can be settled;
the heartbeats have stopped, and other workers take those jobs over within a lease.
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
#: What middleware is given to write down what it holds.
FLUSH_SECONDS = 5.0


def end_process(flush: Callable[[], None]) -> None:
    """End this process with `EXIT_BROKEN`, having called `flush` for a few seconds at most."""

    def finish() -> None:
        try:
            flush()
        finally:
            logging.shutdown()

    flushing = threading.Thread(target=finish, name="nomad-flush", daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    # Not `sys.exit`: that ends a thread, and what is broken may keep the main thread from ending.
    os._exit(EXIT_BROKEN)


def stop_worker(worker: Worker, session: Session) -> None:
    """Stop a Worker inside an application's process, interrupting what it runs."""
    for lease in session.running():
        strike(lease, Shutdown)
    try:
        worker.stop(timeout=int(FLUSH_SECONDS * 1000))
    except BaseException:
        logger.critical("the broken worker did not stop", exc_info=True)
