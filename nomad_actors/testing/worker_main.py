"""The program of a `WorkerProcess`: one Dramatiq `Worker`, without the other processes of Dramatiq's command line."""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
import threading

import dramatiq
from dramatiq import Broker, Worker


def find_broker(target: str) -> Broker:
    """Return the broker of `module` or `module:attribute`: the attribute, its return value, or the global broker."""
    found = pkgutil.resolve_name(target)
    if callable(found):
        found = found()
    return found if isinstance(found, Broker) else dramatiq.get_broker()


def main(target: str, threads: str, ready: str) -> None:
    """Run jobs until SIGTERM; `ready` is a file descriptor to write to once the worker runs."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broker = find_broker(target)
    # Dramatiq's command line does this too: it starts the time limits.
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_threads=int(threads), worker_timeout=100)
    worker.start()
    os.write(int(ready), b"ready")
    os.close(int(ready))
    stop.wait()
    worker.stop()
    broker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
