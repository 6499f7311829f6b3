"""The one blocking wait of a worker process: it sleeps in Redis until one of its queues has work.

It waits only for queues that the pump believes empty and has places for, so that a token popped here is work that this
process can take. The pump changes what it waits for by `arm`, and wakes it by a key of the worker's own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import redis
from redis.exceptions import ResponseError

from . import keys
from .link import LINK_ERRORS, Link, backoff_seconds, describe, own_pool

logger = logging.getLogger("nomad_actors.broker.waiter")

#: Longer than the pump's own recheck, shorter than any proxy's idle limit.
BLOCK_SECONDS = 20
#: The socket must outlast the block.
SOCKET_SECONDS = BLOCK_SECONDS + 10.0


class Waiter:
    """Blocks on the wake keys of the armed queues and tells `hear` the bases of those that have work."""

    def __init__(self, pool: redis.ConnectionPool, worker_id: bytes, hear: Callable[[Sequence[str]], None]) -> None:
        self._link = Link(own_pool(pool, socket_timeout=SOCKET_SECONDS))
        self._worker_id = worker_id
        self._hear = hear
        self._changed = threading.Condition()
        self._armed: set[str] = set()
        self._blocked_on: frozenset[str] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="nomad-waiter", daemon=True)
        self.nudge_key: str | None = None

    def start(self) -> None:
        """Begin to wait for what is armed."""
        self._thread.start()

    def arm(self, bases: set[str]) -> bool:
        """Wait for these queues from now on; return whether it blocks without one of them and wants a nudge."""
        with self._changed:
            self._armed |= bases
            if self.nudge_key is None and bases:
                self.nudge_key = keys.nudge(min(bases), self._worker_id)
            self._changed.notify()
            return self._blocked_on is not None and not bases <= self._blocked_on

    def close(self) -> None:
        """Stop waiting; the thread ends by itself, at the latest with its block."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        tried = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._armed or self._closing)
                if self._closing:
                    break
                bases = frozenset(self._armed)
                self._blocked_on = bases
            try:
                self._wait(bases)
                tried = 0
            except LINK_ERRORS as error:
                tried += 1
                if tried == 1:
                    logger.warning("lost Redis while waiting for work: %s", describe(error))
                self._forget(bases)
                # Whatever happened in between went unheard: have every queue looked at.
                self._hear(())
                self._pause(backoff_seconds(tried))
        self._link.close()

    def _wait(self, bases: frozenset[str]) -> None:
        assert self.nudge_key is not None
        by_key = {keys.wake(base).encode(): base for base in bases}
        (reply,) = self._link.commands([("BLPOP", *by_key, self.nudge_key, BLOCK_SECONDS)])
        if isinstance(reply, ResponseError):
            raise reply
        with self._changed:
            self._blocked_on = None
            base = by_key.get(reply[0]) if reply else None
            if base is not None:
                self._armed.discard(base)
        if base is not None:
            self._hear((base,))

    def _forget(self, bases: frozenset[str]) -> None:
        with self._changed:
            self._blocked_on = None
            self._armed -= bases

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=seconds)
