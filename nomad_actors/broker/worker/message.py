"""A leased job as Dramatiq's Worker runs it: read from what is stored, and turned into how it ended."""

from __future__ import annotations

from typing import Any

from dramatiq import Broker, Message
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage, TimeLimit, TimeLimitExceeded
from dramatiq.threading import Interrupt

from ...clock import mono_ms
from ...logs.foreign_text import class_name, safe_str, safe_traceback, traceback_of
from .. import records
from ..endings import Outcome
from ..errors import Cancelled, Defer, UnprintableError, UnreadableBody
from ..records import failures
from .lease import Lease, Settlement
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.message")

#: How long a job whose actor nobody knows is kept for somebody who does.
UNKNOWN_FOR_MS = 600_000
#: Options that Dramatiq's middleware calculates with.
_NUMBERS = ("max_retries", "retries", "min_backoff", "max_backoff", "time_limit", "max_age")
#: A time limit, a cancel and a shutdown may all strike one thread.
_STRIKES_AT_ONCE = 4


class LeasedMessage(MessageProxy):
    """A message that this process runs, with the lease it runs under."""

    def __init__(self, message: Message[Any], lease: Lease) -> None:
        super().__init__(message)
        self.lease = lease
        self.exception: BaseException | None = None
        self.skipped = False
        #: Set when the actor and all middleware after it are through.
        self.over = False

    def stuff_exception(self, exception: BaseException) -> None:
        """Keep what went wrong until the lease is settled."""
        super().stuff_exception(exception)
        # A skip that nobody could recognise has failed its job: the reason says so.
        if type(exception) is UnprintableError and not _is(exception.original, SkipMessage):
            exception = exception.original
        self.exception = exception

    def __str__(self) -> str:
        return safe_str(self._message)

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
    if not 0 <= lease.header.created_ms <= records.MAX_INSTANT_MS:
        accepted = f"0 to {records.MAX_INSTANT_MS} ms since the epoch"
        raise UnreadableBody(f"its message_timestamp is no time (accepted: {accepted})", lease.body)
    lease.message = records.unpack_body(lease.queue, lease.job_id, lease.header, lease.body)
    _check_options(lease.message.options, lease.body)
    return LeasedMessage(lease.message, lease)


def _check_options(options: dict[str, Any], body: bytes) -> None:
    """Refuse options that middleware fails by: it would only log that, and a job run without its time limit."""
    for name in _NUMBERS:
        value = options.get(name)
        # Infinity is how some of them are switched off; a NaN is neither more nor less than anything.
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
        if value is not None and not is_number:
            raise UnreadableBody(f"its option {name!r} is {value!r:.80} (accepted: a number)", body)
    target = options.get("pipe_target")
    if target is not None and not isinstance(target, dict):
        raise UnreadableBody(f"its option 'pipe_target' is {target!r:.80} (accepted: a message)", body)


def unknown_actor(lease: Lease, worker: str) -> Settlement:
    """Return what becomes of a job whose actor this worker does not know: it comes back later, another may know it.

    A release that is being rolled out knows job types that the last one does not; after 10 minutes it is nobody's.
    """
    assert lease.message is not None
    message = lease.message
    since = message.options.get(records.UNKNOWN_SINCE)
    since_ms = float(since) if isinstance(since, (int, float)) else lease.started_ms
    age_ms = max(0.0, lease.started_ms - since_ms)
    if age_ms > UNKNOWN_FOR_MS:
        reason = f"no live worker has known actor {message.actor_name!r} for {UNKNOWN_FOR_MS // 60_000} minutes"
        return refused(lease, UnreadableBody(reason, lease.body))
    settlement = Settlement(lease, Outcome.DEFERRED, delay_ms=int(min(30_000, max(1_000, age_ms / 4))))
    settlement.body = records.pack_body(message, **{records.UNKNOWN_SINCE: since_ms})
    settlement.error_text = f"no actor {message.actor_name!r} is declared in worker {worker}"
    settlement.note = records.cut(settlement.error_text).encode()
    return settlement


def refused(lease: Lease, error: UnreadableBody) -> Settlement:
    """Return the end of a job that cannot be run that no thread here could run."""
    reason = f"cannot be run: {error.message}"
    settlement = Settlement(lease, Outcome.FAILED, note=records.cut(reason).encode(), error_text=reason)
    settlement.error = records.pack_error(type(error).__name__, str(error.message), "")
    actor = lease.message.actor_name if lease.message else ""
    settlement.fault = failures.pack(actor, type(error).__name__, str(error.message))
    return settlement


def ended(message: LeasedMessage) -> Settlement:
    """Decide how a run ended.

    Deferred, marked as failed, retry noted, an exception that nobody decided on (failed), else completed; a cancelled
    job that did not complete is cancelled.
    """
    lease, exception = message.lease, message.exception
    settlement = Settlement(lease, _outcome(message))
    if lease.began_mono_ms:
        settlement.run_ms = mono_ms() - lease.began_mono_ms
    if settlement.outcome is Outcome.CANCELLED:
        # What Retries noted and what was thrown are the interrupt's doing.
        settlement.error_text = "cancelled" + (f": {lease.cancel_reason}" if lease.cancel_reason else "")
        settlement.note = records.cut(lease.cancel_reason or "").encode()
        lease.outbox.clear()
        return settlement
    if settlement.outcome is Outcome.DEFERRED:
        assert isinstance(lease.skip, Defer)
        reason = safe_str(lease.skip.reason)
        settlement.delay_ms = int(lease.skip.seconds * 1000)
        settlement.note = records.cut(reason).encode()
        settlement.error_text = reason or None
        if lease.message is not None and records.UNKNOWN_SINCE in lease.message.options:
            # Its actor is known here: from now on it is put off by itself.
            settlement.body = records.pack_body(lease.message)
        return settlement
    if exception is not None and not _is(exception, SkipMessage):
        name, words = class_name(exception), _words(message, exception)
        settlement.error_text = f"{name}: {words}" if words else name
        settlement.error = records.pack_error(name, words, safe_traceback(exception))
    if settlement.outcome is Outcome.RETRIED:
        settlement.delay_ms, settlement.body = lease.retry_delay_ms or 0, lease.retry_body
    elif settlement.outcome is Outcome.FAILED:
        skipped = safe_str(lease.skip) if lease.skip is not None else ""
        reason = settlement.error_text or lease.refused or skipped or "the message was marked as failed"
        settlement.error_text = reason
        settlement.note = records.cut(settlement.error_text).encode()
        settlement.fault = _fault(message, reason)
    else:
        settlement.note = lease.result
    return settlement


def _fault(message: LeasedMessage, reason: str) -> bytes:
    exception = message.exception
    if exception is None or _is(exception, SkipMessage):
        return failures.pack(message.actor_name, "", reason)
    words = _words(message, exception)
    return failures.pack(message.actor_name, class_name(exception), words, traceback_of(exception))


def _words(message: LeasedMessage, exception: BaseException) -> str:
    """Return what an error says; Dramatiq's time limit says nothing by itself."""
    words, limit_ms = safe_str(exception), message.lease.time_limit_ms
    return words if words or limit_ms is None else f"it ran longer than {limit_ms / 1000:g} s"


def time_limit_ms(broker: Broker, message: LeasedMessage) -> float | None:
    """Return the time limit that ended a run, as Dramatiq's middleware reckoned it; None if something else ended it."""
    limits = (each for each in broker.middleware if isinstance(each, TimeLimit))
    if type(message.exception) is not TimeLimitExceeded or (middleware := next(limits, None)) is None:
        return None
    actor = broker.get_actor(message.actor_name)
    limit: float = message.options.get("time_limit") or actor.options.get("time_limit", middleware.time_limit)
    return limit


def _is(exception: BaseException, kind: type[BaseException]) -> bool:
    """Return whether an exception is of a class, without asking what it says of its class itself."""
    return issubclass(type(exception), kind)


def _outcome(message: LeasedMessage) -> Outcome:
    lease = message.lease
    if isinstance(lease.skip, Defer) and not message.failed:
        return Outcome.CANCELLED if lease.cancel_reason is not None else Outcome.DEFERRED
    if lease.cancel_reason is not None and message.exception is not None and _is(message.exception, Cancelled):
        return Outcome.CANCELLED
    if message.failed or lease.refused is not None:
        return Outcome.FAILED
    if lease.retry_delay_ms is not None:
        return Outcome.RETRIED
    if message.exception is not None:
        return Outcome.FAILED
    return Outcome.SKIPPED if message.skipped else Outcome.COMPLETED


def ended_in_any_case(message: LeasedMessage) -> Settlement:
    """Decide how a run ended, whatever the application's objects raise; on the thread that ran it."""
    for _ in range(_STRIKES_AT_ONCE):
        try:
            return ended(message)
        except Interrupt:
            # A time limit or a cancel that struck too late for its job.
            continue
        except BaseException:
            logger.critical("how job %s ended cannot be told", message.message_id, exc_info=True)
            break
    return untold(message)


def untold(message: LeasedMessage) -> Settlement:
    """Return the end of a job of which nothing else can be said; a retry that was decided on takes place."""
    lease = message.lease
    reason = "how it ended cannot be told; its worker's log says why"
    error = records.pack_error("Untold", reason, "")
    if lease.retry_delay_ms is not None and not message.failed:
        settlement = Settlement(lease, Outcome.RETRIED, error=error, error_text=reason)
        settlement.delay_ms, settlement.body = lease.retry_delay_ms, lease.retry_body
        return settlement
    fault = failures.pack(message.actor_name, "", reason)
    return Settlement(lease, Outcome.FAILED, error=error, note=reason.encode(), error_text=reason, fault=fault)


def thread_died(message: LeasedMessage) -> Settlement:
    """Return the end of a job whose thread is gone: what it came to when it was through, else failed."""
    if message.over:
        return ended(message)
    reason = "the thread that ran it died"
    settlement = Settlement(message.lease, Outcome.FAILED, note=reason.encode(), error_text=reason)
    settlement.error = records.pack_error("ThreadDied", reason, "")
    settlement.fault = failures.pack(message.actor_name, "ThreadDied", reason)
    return settlement
