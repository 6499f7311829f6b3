"""The broker's errors. Each is also the error that a stock application expects in the same situation, if there is one.

BrokerError
├── RedisUnavailable      Redis did not take a command; also Dramatiq's BrokerConnectionError
│   └── WrongKeyType      a key of a queue holds another type; both also our Unavailable
├── PoolExhausted         client/link.py: the application's pool has no free connection; also redis-py's ConnectionError
├── ScriptFailed          Redis replied that it cannot run the command
├── UnreadableBody        a stored job is not a valid message; also Dramatiq's DecodeError
├── WorkerBroken          one of a worker's own threads ended
├── WorkerStopped         the Worker has stopped
├── QueueNotDeclared
├── BadPriority
├── BadOption             also our BadInput
├── BadCursor             client/finder.py: a cursor that no page gave; also our BadInput
├── ScheduleContended     client/slots.py
├── QueueFull             the queue has its maximum of jobs; also our WrongState
├── KeyReused             an idempotency key was used for another request; also our BadInput
├── Defer                 raised by a job: run later, without spending an attempt; also Dramatiq's SkipMessage
├── PermanentError        raised by a job: fail at once
│   └── Refused           jobs/route_sync.py: ESI refuses a route of a character, or cannot answer it
└── UnprintableError      replaces a job's exception that Python cannot print

`Cancelled` is not in the tree, because it is Dramatiq's Interrupt and not an Exception: a job's `except Exception` must
not swallow it.
"""

from __future__ import annotations

from enum import StrEnum

from dramatiq.errors import BrokerConnectionError, DecodeError
from dramatiq.middleware import SkipMessage
from dramatiq.threading import Interrupt

from ..errors import BadInput, Unavailable, UnreadableQueue, WrongState
from ..logs.foreign_text import describe_error, safe_repr

#: Ten years; a longer delay is a mistake in the unit.
MAX_DEFER_SECONDS = 315_360_000


class Refusal(StrEnum):
    """Why a Redis that replies refuses commands now, in words."""

    PASSWORD = "the password is missing or wrong"
    FULL = "it is full, and refuses new data until memory is freed"
    REPLICA = "it is a replica, which refuses writes"
    DISK = "it cannot write to its disk, and refuses writes until it can"
    DATABASE = "it has no database of this number: see REDIS_DB, or the number in REDIS_URL"
    LOADING = "it is still loading its data"
    PERMISSION = "its user has no permission for that"
    COMMAND = "a command that we need was renamed or is missing"


class BrokerError(Exception):
    """The base of the broker's errors."""


class RedisUnavailable(BrokerError, BrokerConnectionError, Unavailable):
    """Raised when Redis did not take a command within the allowed tries; names and chains the cause.

    An enqueue that raised this error may or may not have happened; enqueueing the same message again is safe.
    """

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)  # type: ignore[no-untyped-call]  # Dramatiq's is without annotations
        #: None if Redis did not reply, or gave a reason that is not in `Refusal`.
        self.refusal = refusal


class WrongKeyType(RedisUnavailable, UnreadableQueue):
    """Raised when a key of a queue has another Redis type than the broker uses; a retry would not help."""


class ScriptFailed(BrokerError, RuntimeError):
    """Raised when Redis replied that it cannot run a command, because of a bug of ours or invalid data in its keys."""


class UnreadableBody(BrokerError, DecodeError):
    """Raised when a stored job is not a valid message: its body cannot be decoded or has the wrong fields."""

    def __init__(self, message: str, data: bytes, error: Exception | None = None) -> None:
        super().__init__(message, data, error)  # type: ignore[no-untyped-call]


class WorkerBroken(BrokerError, RuntimeError):
    """Raised to a consumer whose worker cannot go on; says which of its threads ended and how."""


class WorkerStopped(BrokerError, RuntimeError):
    """Raised in a consumer of a Worker that has stopped, or that belongs to the process this one was forked from."""


class QueueNotDeclared(BrokerError, ValueError):
    """Raised when a queue is used that was not declared on this broker."""


class BadPriority(BrokerError, ValueError):
    """Raised when a message's priority is not a whole number from -8191 to 8191."""


class BadOption(BrokerError, BadInput, ValueError):
    """Raised when a message's option is invalid; says what is allowed."""


class QueueFull(BrokerError, WrongState):
    """Raised when jobs would exceed a queue's maximum length; none of them was added."""

    def __init__(self, queue: str, max_length: int) -> None:
        super().__init__(f"queue {queue!r} is full: at most {max_length} of its jobs may wait or be delayed")
        self.queue, self.max_length = queue, max_length


class KeyReused(BrokerError, BadInput):
    """Raised when an idempotency key was already used for another request; names the job of that request."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the idempotency key was used for another request, which added job {job_id!r}")
        self.job_id = job_id


class Defer(BrokerError, SkipMessage):
    """Raised by a job to run again `seconds` from now, without spending an attempt.

    It is a SkipMessage because Dramatiq's Retries, Callbacks and Pipelines ignore those.

    Raises `ValueError` if `seconds` is out of range.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        if not 0 <= seconds <= MAX_DEFER_SECONDS:
            raise ValueError(
                f"a job cannot be deferred by {safe_repr(seconds, 200)} s (allowed: 0 to {MAX_DEFER_SECONDS})"
            )
        super().__init__(reason)
        self.seconds = seconds
        self.reason = reason


class PermanentError(BrokerError):
    """Raised by a job that must fail at once, because another attempt would fail too."""


class UnprintableError(BrokerError):
    """Raised in place of a job's exception that Python cannot print; `original` is that exception.

    Log handlers and Dramatiq's Retries print every exception; they would fail on this one and end the thread.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(describe_error(original))
        self.original = original


class Cancelled(Interrupt):
    """Raised inside a job that an operator cancels; catch it only to clean up, then raise it again."""
