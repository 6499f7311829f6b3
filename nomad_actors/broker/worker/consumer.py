"""The consumer of one queue for Dramatiq's Worker; the session does the work.

A consumer raises nothing, because Dramatiq would replace it after a fixed 3 s. The session handles a lost Redis; only a
session that has failed permanently raises an error here.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable

from dramatiq.broker import Consumer, MessageProxy

from ..errors import WorkerBroken
from .lease import CURRENT
from .message import LeasedMessage, safe_settlement
from .queue_state import QueueOptions
from .session import Session


class JobConsumer(Consumer):
    """Yields the leased messages of one queue, and settles their runs.

    Inside a Worker the session puts messages directly into the Worker's own queue and the iterator only waits: passing
    them through the consumer's thread would take as long as running the job.
    """

    def __init__(self, session: Session, queue_name: str, options: QueueOptions, *, timeout_ms: int) -> None:
        self._session = session
        self._queue_name, self._options = queue_name, options
        self._timeout_seconds = timeout_ms / 1000
        self._inbox: queue.SimpleQueue[LeasedMessage] | None = None

    def __next__(self) -> MessageProxy | None:
        # Serve the queue from here on, not from the constructor: a job could end before Dramatiq's thread has the
        # consumer that settles it.
        if (failure := self._session.failure) is not None:
            raise WorkerBroken(failure.reason)
        if self._inbox is None:
            self._inbox = self._session.attach(self._queue_name, self._options)
        try:
            return self._inbox.get(timeout=self._timeout_seconds)
        except queue.Empty:
            return None

    def ack(self, message: MessageProxy) -> None:
        assert isinstance(message, LeasedMessage)
        CURRENT.set(None)
        # This must not raise: the job would stay active, and occupy its slot, until this process ends.
        self._session.end(safe_settlement(message))

    # The settlement says whether the run failed.
    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self._session.release(m.lease for m in messages if isinstance(m, LeasedMessage))

    def close(self) -> None:
        if self._inbox is not None:
            self._session.detach(self._queue_name)
