"""The program of a `WorkerProcess`: one Dramatiq `Worker`, without the other processes of Dramatiq's command line."""

from __future__ import annotations

import argparse
import os
import pkgutil
import signal
import threading

import dramatiq
from dramatiq import Broker, Worker


def find_broker(target: str) -> Broker:
    """Return the broker of `module` or `module:attribute`: the attribute, its return value, or the global broker."""
    found = pkgutil.resolve_name(target)
    if callable(found):
        found = found()
    return found if isinstance(found, Broker) else dramatiq.get_broker()


def main() -> None:
    """Run jobs until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m nomad_actors.testing.worker_main", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--ready", type=int, help="a file descriptor to write to once the worker runs")
    arguments = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broker = find_broker(arguments.target)
    # Dramatiq's command line does this too: it starts the time limits.
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_threads=arguments.threads, worker_timeout=100)
    worker.start()
    if arguments.ready is not None:
        os.write(arguments.ready, b"ready")
        os.close(arguments.ready)
    stop.wait()
    worker.stop()
    broker.close()


if __name__ == "__main__":
    main()
