"""The blocking wait of a worker process: it blocks in Redis until there is work or a message.

It waits for work only in queues that the pump believes empty and has free slots for, so that a popped token means work
that this process can take. The pump changes these queues by `arm`, and wakes the waiter through the worker's control
key, which also brings operators' cancels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import redis
from redis.exceptions import ResponseError

from .. import keys
from ..client.link import LINK_ERRORS, Link, backoff_seconds, describe
from ..client.pools import FOR_ONE, own_pool
from ..records.control import NUDGE, unpack_cancel
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.waiter")

#: Longer than the pump's heartbeat interval, shorter than the idle timeout of any proxy.
BLOCK_SECONDS = 20
#: After a lost connection, to notice soon that Redis is back.
SHORT_BLOCK_SECONDS = 0.1
#: The socket's timeout must be longer than the block.
SOCKET_SECONDS = BLOCK_SECONDS + 10.0
#: How long to wait for the pump's next `arm` before blocking on the same queues again.
SETTLE_SECONDS = 0.05


class Waiter:
    """Blocks on the control keys of the served queues and the wake keys of the armed ones.

    `on_work` is called with the bases of queues that have work, or with none if any queue may have work; `on_cancel`
    with a queue's base, a stored id and the reason.
    """

    def __init__(
        self,
        pool: redis.ConnectionPool,
        worker_id: bytes,
        *,
        on_work: Callable[[Sequence[str]], None],
        on_cancel: Callable[[str, bytes, str], None],
    ) -> None:
        self._link = Link(own_pool(pool, max_connections=FOR_ONE, socket_timeout=SOCKET_SECONDS))
        self._worker_id = worker_id
        self._on_work = on_work
        self._on_cancel = on_cancel
        self._changed = threading.Condition()
        self._served: set[str] = set()
        self._armed: set[str] = set()
        self._fresh = False
        #: The served and the armed queues that it blocks on now; None while it does not block.
        self._blocked_on: tuple[frozenset[str], frozenset[str]] | None = None
        self._closing = False
        self.thread = threading.Thread(target=self._run, name="nomad-waiter", daemon=True)
        #: The error that ended its thread.
        self.cause: BaseException | None = None
        self.nudge_key: str | None = None

    def start(self) -> None:
        self.thread.start()

    def arm(self, served: set[str], idle: set[str]) -> bool:
        """Wait for work in the `idle` queues too. Return True if it must be woken to see the change."""
        with self._changed:
            self._fresh = True
            self._served |= served
            self._armed |= idle
            if self.nudge_key is None and served:
                self.nudge_key = keys.CONTROL.of(min(served), self._worker_id.hex())
            self._changed.notify()
            if self._blocked_on is None:
                return False
            blocked_served, blocked_armed = self._blocked_on
            return not (self._armed <= blocked_armed and self._served <= blocked_served)

    def close(self) -> None:
        """Stop waiting; the thread ends at the latest when its block ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._wait_on()
        except BaseException as error:
            # The watch sees that this thread has ended, and ends the worker.
            self.cause = error
        finally:
            self._link.close()

    def _wait_on(self) -> None:
        tried = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._served or self._closing)
                # The pump will soon arm the queue again whose token was taken: waiting for that saves a block.
                self._changed.wait_for(lambda: self._fresh or self._closing, timeout=SETTLE_SECONDS)
                if self._closing:
                    return
                served, armed = self._blocked_on = frozenset(self._served), frozenset(self._armed)
            try:
                self._wait(served, armed, SHORT_BLOCK_SECONDS if tried else BLOCK_SECONDS)
                if tried:
                    logger.info("Redis is back: waiting for work")
                tried = 0
            except BaseException as error:
                # Not only `LINK_ERRORS`: an application's connection classes and credentials may raise anything.
                tried += 1
                self._on_lost(error, tried)

    def _on_lost(self, error: BaseException, tried: int) -> None:
        if tried == 1:
            unexpected = not isinstance(error, LINK_ERRORS)
            logger.warning("lost Redis while waiting for work: %s", describe(error), exc_info=unexpected)
        with self._changed:
            self._blocked_on = None
            self._armed.clear()
        # Wake-ups may have been lost meanwhile: check every queue.
        self._on_work(())
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=backoff_seconds(tried))

    def _wait(self, served: Iterable[str], armed: Iterable[str], block_seconds: float) -> None:
        controls = {keys.CONTROL.of(base, self._worker_id.hex()).encode(): base for base in served}
        wakes = {keys.WAKE.of(base).encode(): base for base in armed}
        (reply,) = self._link.commands([("BLPOP", *controls, *wakes, block_seconds)])
        if isinstance(reply, ResponseError):
            raise reply
        key, message = reply or (b"", b"")
        woken = wakes.get(key)
        with self._changed:
            self._blocked_on = None
            if woken is not None:
                self._armed.discard(woken)
                self._fresh = False
        if woken is not None:
            self._on_work((woken,))
        elif key in controls and message != NUDGE:
            self._handle(controls[key], message)

    def _handle(self, base: str, message: bytes) -> None:
        cancel = unpack_cancel(message)
        if cancel is None:
            logger.warning("unknown message on a control key: %r", message[:80])
        else:
            self._on_cancel(base, *cancel)
