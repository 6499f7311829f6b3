"""The thin views that Dramatiq's Worker sees: a consumer a queue, a message with its lease.

Nothing raises out of a consumer: Dramatiq would replace it after a fixed 3 s. Redis going away is the session's affair.
"""

from __future__ import annotations

import queue
import time
import traceback
from collections.abc import Iterable
from typing import Any

from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy

from ..clock import mono_ms
from . import records
from .endings import Outcome
from .errors import UnreadableBody
from .lease import CURRENT, Lease, Settlement
from .session import Session


class LeasedMessage(MessageProxy):
    """A message that this process runs, with the lease it runs under."""

    def __init__(self, message: Message[Any], lease: Lease) -> None:
        super().__init__(message)
        self.lease = lease
        self.exception: BaseException | None = None
        self.skipped = False

    def stuff_exception(self, exception: BaseException) -> None:
        """Keep what went wrong until the lease is settled."""
        super().stuff_exception(exception)
        self.exception = exception

    def clear_exception(self) -> None:
        """Let go of what went wrong: a traceback keeps every frame's variables alive."""
        super().clear_exception()
        self.exception = None


class JobConsumer(Consumer):
    """Hands one queue's leases to Dramatiq's Worker and takes their endings."""

    def __init__(self, session: Session, queue_name: str, *, places: int, limit: int | None, timeout_ms: int) -> None:
        self._session = session
        self._queue_name = queue_name
        self._timeout_seconds = timeout_ms / 1000
        self._inbox = session.attach(queue_name, places, limit=limit)

    def __next__(self) -> MessageProxy | None:
        """Return the next leased message, or None when none came within the timeout."""
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                lease = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            message = self._read(lease)
            if message is not None:
                return message

    def _read(self, lease: Lease) -> LeasedMessage | None:
        """Return a lease's message; a body that is none fails the job here, with the reason."""
        try:
            if lease.header is None:
                raise UnreadableBody("the stored record is not one of ours", lease.body, None)
            message = records.unpack_body(lease.queue, lease.job_id, lease.header, lease.body)
        except UnreadableBody as error:
            reason = f"unreadable job: {error.message}"
            settlement = Settlement(lease, Outcome.FAILED, note=reason.encode(), error_text=reason)
            settlement.error = records.pack_error("UnreadableBody", str(error.message), "")
            self._session.end(settlement)
            return None
        lease.message = message
        return LeasedMessage(message, lease)

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
        self._session.detach(self._queue_name)

    def _end(self, message: MessageProxy) -> None:
        assert isinstance(message, LeasedMessage)
        CURRENT.set(None)
        self._session.end(_settlement(message))


def _settlement(message: LeasedMessage) -> Settlement:
    """Decide how a run ended: failed, retry noted, an exception that nobody decided on, else completed."""
    lease, exception = message.lease, message.exception
    settlement = Settlement(lease, _outcome(message))
    if lease.began_mono_ms:
        settlement.run_ms = mono_ms() - lease.began_mono_ms
    if exception is not None:
        name, words = type(exception).__name__, str(exception)
        settlement.error_text = f"{name}: {words}" if words else name
        trace = "".join(traceback.format_exception(exception))
        settlement.error = records.pack_error(name, words, trace)
    if settlement.outcome is Outcome.RETRIED:
        settlement.delay_ms, settlement.body = lease.retry_delay_ms or 0, lease.retry_body
    elif settlement.outcome is Outcome.FAILED:
        settlement.error_text = settlement.error_text or "the message was marked as failed"
        settlement.note = records.cut(settlement.error_text).encode()
    else:
        settlement.note = lease.result
    return settlement


def _outcome(message: LeasedMessage) -> Outcome:
    if message.failed:
        return Outcome.FAILED
    if message.lease.retry_delay_ms is not None:
        return Outcome.RETRIED
    if message.exception is not None:
        return Outcome.FAILED
    return Outcome.SKIPPED if message.skipped else Outcome.COMPLETED
