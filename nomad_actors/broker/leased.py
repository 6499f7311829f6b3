"""A leased job as Dramatiq's Worker runs it: read from what is stored, and turned into how it ended."""

from __future__ import annotations

import traceback
from typing import Any

from dramatiq import Message
from dramatiq.broker import MessageProxy

from ..clock import mono_ms
from . import records
from .endings import Outcome
from .errors import UnreadableBody
from .lease import Lease, Settlement


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


def read(lease: Lease) -> LeasedMessage:
    """Return a lease's message.

    Raises `UnreadableBody` when what is stored is none.
    """
    if lease.header is None:
        raise UnreadableBody("the stored record is not one of ours", lease.body)
    lease.message = records.unpack_body(lease.queue, lease.job_id, lease.header, lease.body)
    return LeasedMessage(lease.message, lease)


def refused(lease: Lease, error: UnreadableBody) -> Settlement:
    """Return the end of a job that cannot be run that no thread here could run."""
    reason = f"cannot be run: {error.message}"
    settlement = Settlement(lease, Outcome.FAILED, note=records.cut(reason).encode(), error_text=reason)
    settlement.error = records.pack_error(type(error).__name__, str(error.message), "")
    return settlement


def ended(message: LeasedMessage) -> Settlement:
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
