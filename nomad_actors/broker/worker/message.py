"""A leased job as a message for Dramatiq's Worker, and the settlement of its run."""

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

#: How long a job waits for a worker that knows its actor.
UNKNOWN_FOR_MS = 600_000
#: Options that Dramatiq's middleware calculates with.
_NUMBERS = ("max_retries", "retries", "min_backoff", "max_backoff", "time_limit", "max_age")
#: A time limit, a cancel and a shutdown may all interrupt one thread.
_MAX_INTERRUPTS = 4


class LeasedMessage(MessageProxy):
    """A message that this process runs, with its lease."""

    def __init__(self, message: Message[Any], lease: Lease) -> None:
        super().__init__(message)
        self.lease = lease
        self.exception: BaseException | None = None
        self.skipped = False
        #: True after the actor and all middleware after it have run.
        self.over = False

    def stuff_exception(self, exception: BaseException) -> None:
        super().stuff_exception(exception)
        # A skip that could not be recognised as one fails the job, and the reason names it.
        if type(exception) is UnprintableError and not _is(exception.original, SkipMessage):
            exception = exception.original
        self.exception = exception

    def __str__(self) -> str:
        return safe_str(self._message)

    def clear_exception(self) -> None:
        super().clear_exception()
        # A traceback keeps every frame's variables alive.
        self.exception = None


def read(lease: Lease) -> LeasedMessage:
    """Return a lease's message. Raises `UnreadableBody` if the stored job is not a valid message."""
    if lease.header is None:
        raise UnreadableBody("the stored value is not a job's record", lease.body)
    if not 0 <= lease.header.created_ms <= records.MAX_INSTANT_MS:
        allowed = f"0 to {records.MAX_INSTANT_MS} ms since the epoch"
        raise UnreadableBody(f"its message_timestamp is invalid (allowed: {allowed})", lease.body)
    lease.message = records.unpack_body(lease.queue, lease.job_id, lease.header, lease.body)
    _check_options(lease.message.options, lease.body)
    return LeasedMessage(lease.message, lease)


def _check_options(options: dict[str, Any], body: bytes) -> None:
    """Refuse options on which middleware would fail: that is only logged, and the job would run without time limit."""
    for name in _NUMBERS:
        value = options.get(name)
        # Infinity is allowed, because it turns some of them off; NaN is not, because no comparison with it is true.
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
        if value is not None and not is_number:
            raise UnreadableBody(f"its option {name!r} is {value!r:.80} (allowed: a number)", body)
    target = options.get("pipe_target")
    if target is not None and not isinstance(target, dict):
        raise UnreadableBody(f"its option 'pipe_target' is {target!r:.80} (allowed: a message)", body)


def unknown_actor(lease: Lease, worker: str) -> Settlement:
    """Defer a job whose actor this worker does not know, so that another can take it; fail it after 10 minutes.

    While a release is rolled out, its workers know job types that those of the previous release do not.
    """
    assert lease.message is not None
    message = lease.message
    since = message.options.get(records.UNKNOWN_SINCE)
    since_ms = float(since) if isinstance(since, (int, float)) else lease.started_ms
    age_ms = max(0.0, lease.started_ms - since_ms)
    if age_ms > UNKNOWN_FOR_MS:
        reason = f"no live worker has known actor {message.actor_name!r} for {UNKNOWN_FOR_MS // 60_000} minutes"
        return cannot_run(lease, UnreadableBody(reason, lease.body))
    settlement = Settlement(lease, Outcome.DEFERRED, delay_ms=int(min(30_000, max(1_000, age_ms / 4))))
    settlement.body = records.pack_body(message, **{records.UNKNOWN_SINCE: since_ms})
    settlement.error_text = f"no actor {message.actor_name!r} is declared in worker {worker}"
    settlement.note = records.cut(settlement.error_text).encode()
    return settlement


def cannot_run(lease: Lease, error: UnreadableBody) -> Settlement:
    """Settle as failed a job that no worker can run."""
    actor = lease.message.actor_name if lease.message else ""
    return _failed(lease, actor, type(error).__name__, str(error.message), f"cannot be run: {error.message}")


def _failed(lease: Lease, actor: str, error_class: str, message: str, reason: str) -> Settlement:
    """Settle a job as failed by an error that the job did not raise."""
    return Settlement(
        lease,
        Outcome.FAILED,
        error=records.pack_error(error_class, message, ""),
        note=records.cut(reason).encode(),
        error_text=reason,
        failure_group=failures.pack(actor, error_class, message),
    )


def settlement_of(message: LeasedMessage) -> Settlement:
    """Settle a run that is over.

    It is deferred, failed if it was marked as failed, retried if Retries enqueued it, failed after any other exception,
    else completed or skipped; a cancelled job that did not complete is cancelled.
    """
    lease, exception = message.lease, message.exception
    settlement = Settlement(lease, _outcome(message))
    if lease.began_mono_ms:
        settlement.run_ms = mono_ms() - lease.began_mono_ms
    if settlement.outcome is Outcome.CANCELLED:
        # The retry and the exception are consequences of the interrupt.
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
            # Its actor is known here: from now on it defers itself.
            settlement.body = records.pack_body(lease.message)
        return settlement
    name = text = ""
    if exception is not None and not _is(exception, SkipMessage):
        name, text = class_name(exception), _error_message(message, exception)
        settlement.error_text = f"{name}: {text}" if text else name
        settlement.error = records.pack_error(name, text, safe_traceback(exception))
    if settlement.outcome is Outcome.RETRIED:
        settlement.delay_ms, settlement.body = lease.retry_delay_ms or 0, lease.retry_body
    elif settlement.outcome is Outcome.FAILED:
        skipped = safe_str(lease.skip) if lease.skip is not None else ""
        reason = settlement.error_text or lease.result_error or skipped or "the message was marked as failed"
        settlement.error_text = reason
        settlement.note = records.cut(settlement.error_text).encode()
        trace = traceback_of(exception) if exception is not None and name else None
        settlement.failure_group = failures.pack(message.actor_name, name, text if name else reason, trace)
    else:
        settlement.note = lease.result
    return settlement


def _error_message(message: LeasedMessage, exception: BaseException) -> str:
    # Dramatiq's time limit has no message of its own.
    text, limit_ms = safe_str(exception), message.lease.time_limit_ms
    return text if text or limit_ms is None else f"it ran longer than {limit_ms / 1000:g} s"


def time_limit_ms(broker: Broker, message: LeasedMessage) -> float | None:
    """Return the time limit by which Dramatiq's middleware ended a run; None if something else ended it."""
    limits = (each for each in broker.middleware if isinstance(each, TimeLimit))
    if type(message.exception) is not TimeLimitExceeded or (middleware := next(limits, None)) is None:
        return None
    actor = broker.get_actor(message.actor_name)
    limit: float = message.options.get("time_limit") or actor.options.get("time_limit", middleware.time_limit)
    return limit


def _is(exception: BaseException, kind: type[BaseException]) -> bool:
    # Not `isinstance`, which runs the exception's own code.
    return issubclass(type(exception), kind)


def _outcome(message: LeasedMessage) -> Outcome:
    lease = message.lease
    if isinstance(lease.skip, Defer) and not message.failed:
        return Outcome.CANCELLED if lease.cancel_reason is not None else Outcome.DEFERRED
    if lease.cancel_reason is not None and message.exception is not None and _is(message.exception, Cancelled):
        return Outcome.CANCELLED
    if message.failed or lease.result_error is not None:
        return Outcome.FAILED
    if lease.retry_delay_ms is not None:
        return Outcome.RETRIED
    if message.exception is not None:
        return Outcome.FAILED
    return Outcome.SKIPPED if message.skipped else Outcome.COMPLETED


def safe_settlement(message: LeasedMessage) -> Settlement:
    """Settle a run whatever the application's objects raise; called on the thread that ran it."""
    for _ in range(_MAX_INTERRUPTS):
        try:
            return settlement_of(message)
        except Interrupt:
            # A time limit or a cancel that came too late for its job.
            continue
        except BaseException:
            logger.critical("the outcome of job %s is unknown", message.message_id, exc_info=True)
            break
    return outcome_unknown(message)


def outcome_unknown(message: LeasedMessage) -> Settlement:
    """Settle a run whose outcome is unknown: as retried if a retry was already chosen, else as failed."""
    lease = message.lease
    reason = "its outcome is unknown; see its worker's log"
    if lease.retry_delay_ms is not None and not message.failed:
        settlement = Settlement(lease, Outcome.RETRIED, delay_ms=lease.retry_delay_ms, body=lease.retry_body)
        settlement.error, settlement.error_text = records.pack_error("OutcomeUnknown", reason, ""), reason
        return settlement
    settlement = _failed(lease, message.actor_name, "OutcomeUnknown", reason, reason)
    settlement.failure_group = failures.pack(message.actor_name, "", reason)
    return settlement


def thread_died(message: LeasedMessage) -> Settlement:
    """Settle a job whose thread died: as it ended if it was over, else as failed."""
    if message.over:
        return settlement_of(message)
    reason = "the thread that ran it died"
    return _failed(message.lease, message.actor_name, "ThreadDied", reason, reason)
