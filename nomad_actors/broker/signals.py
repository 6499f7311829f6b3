"""Dramatiq's signals: what a broker learns from them about its Workers, and how they reach middleware.

An exception in a middleware's hook ends no thread and stops no other hook.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from dramatiq import Broker, Middleware, Worker
from dramatiq.common import q_name
from dramatiq.middleware import MiddlewareError

from ..clock import mono_ms
from ..logs.foreign_text import came_from_outside, class_name
from .worker.interrupts import current_greenlet
from .worker.lease import CURRENT
from .worker.message import LeasedMessage, time_limit_ms
from .worker.queue_state import QueueOptions
from .worker.sessions import Sessions
from .worker.steady_log import get_logger

logger = get_logger("nomad_actors.broker")

#: Signals of a worker's threads: an exception in middleware must not end the thread.
OF_THREADS = frozenset(
    {
        *("process_message", "skip_message", "ack", "nack"),
        *("consumer_thread_boot", "consumer_thread_shutdown", "worker_thread_boot", "worker_thread_shutdown"),
    }
)


def emit_each(broker: Broker, signal: str, middleware: Sequence[Middleware], listed: Sequence[tuple[Any, ...]]) -> None:
    """Emit a signal for each of many messages, to the middleware that defines its hook.

    Most middleware does not, and calling it anyway took a sixth of the time of adding many jobs. Raises the
    `MiddlewareError` by which a hook refuses a message.
    """
    inherited = getattr(Middleware, signal)
    hooks = [getattr(each, signal) for each in middleware if getattr(type(each), signal) is not inherited]
    for message, delay_ms in listed:
        for hook in hooks:
            try:
                hook(broker, message, delay_ms)
            except BaseException as error:
                is_refusal = signal.startswith("before") and issubclass(type(error), MiddlewareError)
                if is_refusal or came_from_outside(error):
                    raise
                broker.logger.critical("Unexpected failure in %s of %r.", signal, hook, exc_info=True)


def emit_steadily(broker: Broker, middleware: Sequence[Middleware], hook: str, *args: Any, **kwargs: Any) -> None:
    """Call a hook of each middleware, and log what one raises, including `SystemExit`."""
    for each in middleware:
        try:
            getattr(each, hook)(broker, *args, **kwargs)
        except BaseException as error:
            if came_from_outside(error):
                raise
            logger.critical("Unexpected failure in %s of %s.", hook, class_name(each), exc_info=True)


class SignallingBroker(Broker):
    """A broker that uses Dramatiq's signals to follow its Workers: when they start and stop, and when a job does."""

    queues: dict[str, QueueOptions]
    shutdown_ms: int | None
    _sessions: Sessions
    #: True if Dramatiq's command line started this process for a single Worker.
    _has_own_process: bool = False

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        if signal == "process_message" and isinstance(args[0], LeasedMessage):
            lease = args[0].lease
            lease.thread, lease.began_mono_ms = threading.current_thread(), mono_ms()
            lease.greenlet = current_greenlet()
            CURRENT.set(lease)
        elif signal in ("ack", "nack") and isinstance(args[0], LeasedMessage):
            message = args[0]
            # A log handler's exception or an interrupt may have stopped Dramatiq before it emitted the end of the run.
            if message.exception is not None and not message.over:
                self.emit_after("process_message", message, exception=message.exception)
        elif signal == "worker_boot":
            self._boot(args[0])
        if signal in OF_THREADS and signal != "process_message":
            emit_steadily(self, self.middleware, f"before_{signal}", *args, **kwargs)
        elif signal == "enqueue":
            emit_each(self, "before_enqueue", self.middleware, [args])
        else:
            # An exception here keeps the job from running, and is how its run ended.
            super().emit_before(signal, *args, **kwargs)
        if signal == "worker_shutdown":
            self._sessions.stop_taking(self, args[0], self.shutdown_ms)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        if signal in ("process_message", "skip_message") and isinstance(args[0], LeasedMessage):
            message, lease = args[0], args[0].lease
            if signal == "skip_message":
                message.skipped, lease.skip = True, sys.exception()
            lease.collecting, lease.time_limit_ms = True, time_limit_ms(self, message)
            try:
                emit_steadily(self, self.middleware[::-1], f"after_{signal}", *args, **kwargs)
            finally:
                lease.collecting = False
                message.over = True
        elif signal in OF_THREADS or signal == "enqueue":
            emit_steadily(self, self.middleware[::-1], f"after_{signal}", *args, **kwargs)
        else:
            super().emit_after(signal, *args, **kwargs)
        if signal == "worker_shutdown":
            self._sessions.end(args[0])
        elif signal == "process_boot":
            self._has_own_process = True

    def _boot(self, worker: Worker) -> None:
        self._sessions.boot(worker)
        served = {q_name(name) for name in (worker.consumer_whitelist or self.queues)}
        threads = worker.worker_threads
        wanted_threads = sum(options.concurrency or 0 for name, options in self.queues.items() if name in served)
        if wanted_threads > threads:
            logger.warning("only %d threads, but the served queues may run %d jobs at a time", threads, wanted_threads)
