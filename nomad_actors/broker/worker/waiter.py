"""The one blocking wait of a worker process: it sleeps in Redis until there is work, or until it is told something.

It waits for work only in queues that the pump believes empty and has places for, so that a token popped here is work
that this process can take. The pump changes that by `arm`, and wakes it by the worker's own control key, by which an
operator's cancel arrives too.
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

#: Longer than the pump's own beats, shorter than any proxy's idle limit.
BLOCK_SECONDS = 20
#: The first after a loss: it tells soon whether Redis is back.
SHORT_BLOCK_SECONDS = 0.1
#: The socket must outlast the block.
SOCKET_SECONDS = BLOCK_SECONDS + 10.0
#: How long the pump is given to say what else to wait for, before what it said last is waited for again.
SETTLE_SECONDS = 0.05


class Waiter:
    """Blocks on the control keys of the queues served and the wake keys of those that are armed.

    `hear` is told the bases of queues that have work, or nothing when any of them may; `cancel` is told a queue's base,
    a stored id and the reason.
    """

    def __init__(
        self,
        pool: redis.ConnectionPool,
        worker_id: bytes,
        *,
        hear: Callable[[Sequence[str]], None],
        cancel: Callable[[str, bytes, str], None],
    ) -> None:
        self._link = Link(own_pool(pool, max_connections=FOR_ONE, socket_timeout=SOCKET_SECONDS))
        self._worker_id = worker_id
        self._hear = hear
        self._cancel = cancel
        self._changed = threading.Condition()
        self._served: set[str] = set()
        self._armed: set[str] = set()
        self._fresh = False
        #: The queues served and armed that it blocks for now; None while it does not block.
        self._blocked_on: tuple[frozenset[str], frozenset[str]] | None = None
        self._closing = False
        self.thread = threading.Thread(target=self._run, name="nomad-waiter", daemon=True)
        #: What its thread ended by.
        self.cause: BaseException | None = None
        self.nudge_key: str | None = None

    def start(self) -> None:
        """Begin to wait."""
        self.thread.start()

    def arm(self, served: set[str], idle: set[str]) -> bool:
        """Wait for work in the `idle` queues too from now on.

        Returns whether it blocks without one of them and wants a nudge.
        """
        with self._changed:
            self._fresh = True
            self._served |= served
            self._armed |= idle
            if self.nudge_key is None and served:
                self.nudge_key = keys.control(min(served), self._worker_id)
            self._changed.notify()
            if self._blocked_on is None:
                return False
            blocked_served, blocked_armed = self._blocked_on
            return not (self._armed <= blocked_armed and self._served <= blocked_served)

    def close(self) -> None:
        """Stop waiting; the thread ends by itself, at the latest with its block."""
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
                # The pump is about to arm again what a token was taken of: one block less.
                self._changed.wait_for(lambda: self._fresh or self._closing, timeout=SETTLE_SECONDS)
                if self._closing:
                    return
                served, armed = self._blocked_on = frozenset(self._served), frozenset(self._armed)
            try:
                self._wait(served, armed, SHORT_BLOCK_SECONDS if tried else BLOCK_SECONDS)
                if tried:
                    logger.info("Redis is back: work is waited for again")
                tried = 0
            except BaseException as error:
                # Not `LINK_ERRORS` alone: an application's own connections and credentials may raise anything.
                tried += 1
                self._on_lost(error, tried)

    def _on_lost(self, error: BaseException, tried: int) -> None:
        if tried == 1:
            unexpected = not isinstance(error, LINK_ERRORS)
            logger.warning("lost Redis while waiting for work: %s", describe(error), exc_info=unexpected)
        with self._changed:
            self._blocked_on = None
            self._armed.clear()
        # Whatever happened in between went unheard: have every queue looked at.
        self._hear(())
        self._pause(backoff_seconds(tried))

    def _wait(self, served: Iterable[str], armed: Iterable[str], block_seconds: float) -> None:
        controls = {keys.control(base, self._worker_id).encode(): base for base in served}
        wakes = {keys.wake(base).encode(): base for base in armed}
        (reply,) = self._link.commands([("BLPOP", *controls, *wakes, block_seconds)])
        if isinstance(reply, ResponseError):
            raise reply
        key, word = reply or (b"", b"")
        woken = wakes.get(key)
        with self._changed:
            self._blocked_on = None
            if woken is not None:
                self._armed.discard(woken)
                self._fresh = False
        if woken is not None:
            self._hear((woken,))
        elif key in controls and word != NUDGE:
            self._pass_on(controls[key], word)

    def _pass_on(self, base: str, word: bytes) -> None:
        cancel = unpack_cancel(word)
        if cancel is None:
            logger.warning("unknown message on a control key: %r", word[:80])
        else:
            self._cancel(base, *cancel)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=seconds)
