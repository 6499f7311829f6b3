"""The thin view of one queue that Dramatiq's Worker holds.

Nothing raises out of a consumer: Dramatiq would replace it after a fixed 3 s. Redis going away is the session's affair.
Only a session that has broken down for good says so by an error.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable

from dramatiq.broker import Consumer, MessageProxy

from ...retention import Retention
from ..errors import WorkerBroken
from .lease import CURRENT
from .message import LeasedMessage, ended_in_any_case
from .session import Session


class JobConsumer(Consumer):
    """Hands one queue's leases to whoever iterates over it, and takes their endings.

    Inside a Worker the session puts them into the Worker's own queue, past the consumer's thread: the iterator then
    only waits, since a second hand-over would cost as much as the job itself.
    """

    def __init__(
        self,
        session: Session,
        queue_name: str,
        *,
        places: int,
        limit: int | None,
        retention: Retention | None,
        timeout_ms: int,
    ) -> None:
        self._session = session
        self._queue_name = queue_name
        self._places, self._limit, self._retention = places, limit, retention
        self._timeout_seconds = timeout_ms / 1000
        self._inbox: queue.SimpleQueue[LeasedMessage] | None = None

    def __next__(self) -> MessageProxy | None:
        """Return the next leased message, or None when none came within the timeout.

        Serving begins here and not when the consumer is made: a job could end before Dramatiq's thread holds the
        consumer that takes its end.
        """
        if (failure := self._session.failure) is not None:
            raise WorkerBroken(failure.reason)
        if self._inbox is None:
            self._inbox = self._session.attach(
                self._queue_name, self._places, limit=self._limit, retention=self._retention
            )
        try:
            return self._inbox.get(timeout=self._timeout_seconds)
        except queue.Empty:
            return None

    def ack(self, message: MessageProxy) -> None:
        """End a run whose message was not marked as failed."""
        self._end(message)

    def nack(self, message: MessageProxy) -> None:
        """End a run whose message was marked as failed."""
        self._end(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back messages whose run has not begun."""
        self._session.release(m.lease for m in messages if isinstance(m, LeasedMessage))

    def close(self) -> None:
        """Take no further jobs of this queue."""
        if self._inbox is not None:
            self._session.detach(self._queue_name)

    def _end(self, message: MessageProxy) -> None:
        assert isinstance(message, LeasedMessage)
        CURRENT.set(None)
        # Nothing raises out of here: the job would stay active, and keep its place, for as long as we live.
        self._session.end(ended_in_any_case(message))
