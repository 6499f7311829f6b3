"""The broker's errors; one in whose place a stock application expects another error is that one too.

BrokerError
├── RedisUnavailable      Redis did not take a command; also Dramatiq's BrokerConnectionError
│   └── WrongKeyType      a key of a queue holds another type; both also our Unavailable
├── PoolExhausted         client/link.py: the application's pool has no free connection; also redis-py's ConnectionError
├── ScriptFailed          Redis answers and cannot do what it was asked
├── UnreadableBody        a stored job is no message; also Dramatiq's DecodeError
├── WorkerBroken          one of a worker's own threads ended
├── WorkerStopped         the Worker has stopped
├── QueueNotDeclared
├── BadPriority
├── BadOption
├── BadCursor             client/finder.py
├── ScheduleContended     client/slots.py
├── QueueFull             the queue may hold no more jobs
├── KeyReused             an idempotency key was used for another request
├── Defer                 raised by a job: later, no attempt spent; also Dramatiq's SkipMessage
├── PermanentError        raised by a job: fail at once
└── UnprintableError      stands in for a job's exception that Python cannot print

`Cancelled` is beside the tree, since it is no Exception but Dramatiq's Interrupt: a job's `except Exception` must not
swallow it.
"""

from __future__ import annotations

from enum import StrEnum

from dramatiq.errors import BrokerConnectionError, DecodeError
from dramatiq.middleware import SkipMessage
from dramatiq.threading import Interrupt

from ..errors import Unavailable, UnreadableQueue
from ..logs.foreign_text import describe_error, safe_repr

#: A delay beyond this is a mistake in the unit, not a wish: ten years.
MAX_DEFER_SECONDS = 315_360_000


class Refusal(StrEnum):
    """Why a Redis that answers takes no command now, in words."""

    PASSWORD = "the password is missing or wrong"
    FULL = "it is full, and takes nothing new until room is made"
    REPLICA = "it is a replica, which takes no change"
    DISK = "it cannot write to its disk, and takes no change until it can"
    DATABASE = "it has no database of this number: see REDIS_DB, or the number in REDIS_URL"
    LOADING = "it is still loading its data"
    PERMISSION = "its user has no permission for that"
    COMMAND = "a command that we need was renamed, or is not there"


class BrokerError(Exception):
    """The base of the broker's errors."""


class RedisUnavailable(BrokerError, BrokerConnectionError, Unavailable):
    """Raised when Redis did not take a command within the tries allowed; the cause is chained and named.

    An enqueue that ended in this error may or may not have happened; enqueueing the same message again is safe.
    """

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)  # type: ignore[no-untyped-call]  # Dramatiq's is without annotations
        #: None when it did not answer, or for a reason without a name.
        self.refusal = refusal


class WrongKeyType(RedisUnavailable, UnreadableQueue):
    """Raised when a key of a queue holds something else than the broker keeps there; to ask again would not help."""


class ScriptFailed(BrokerError, RuntimeError):
    """Raised when Redis answers and yet cannot do what it was asked: a fault of ours, or rubbish in its keys."""


class UnreadableBody(BrokerError, DecodeError):
    """Raised when a stored job is no message: its body is not decodable or lacks its shape."""

    def __init__(self, message: str, data: bytes, error: Exception | None = None) -> None:
        super().__init__(message, data, error)  # type: ignore[no-untyped-call]


class WorkerBroken(BrokerError, RuntimeError):
    """Raised where jobs are awaited from a worker that cannot go on; says which of its threads ended and how."""


class WorkerStopped(BrokerError, RuntimeError):
    """Raised in a consumer of a Worker that has stopped, or that another process was forked from."""


class QueueNotDeclared(BrokerError, ValueError):
    """Raised when a queue is used that was not declared on this broker."""


class BadPriority(BrokerError, ValueError):
    """Raised when a message's priority is no whole number from -8191 to 8191."""


class BadOption(BrokerError, ValueError):
    """Raised when a message's option cannot be used; says what is accepted."""


class QueueFull(BrokerError):
    """Raised when jobs are added to a queue that may hold no more; none of them was added."""

    def __init__(self, queue: str, max_length: int) -> None:
        super().__init__(f"queue {queue!r} is full: at most {max_length} of its jobs may wait or be delayed")
        self.queue, self.max_length = queue, max_length


class KeyReused(BrokerError):
    """Raised when a caller's own key for a request was used for another request; names the job that stands."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the idempotency key was used for another request, which added job {job_id!r}")
        self.job_id = job_id


class Defer(BrokerError, SkipMessage):
    """Raised by a job that wants to run later, `seconds` from now; it spends no attempt.

    A SkipMessage, since Dramatiq's Retries, Callbacks and Pipelines leave those alone.

    Raises `ValueError` for seconds that are none.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        if not 0 <= seconds <= MAX_DEFER_SECONDS:
            raise ValueError(
                f"a job cannot be deferred by {safe_repr(seconds, 200)} s (accepted: 0 to {MAX_DEFER_SECONDS})"
            )
        super().__init__(reason)
        self.seconds = seconds
        self.reason = reason


class PermanentError(BrokerError):
    """Raised by a job that must fail at once: another attempt would end the same."""


class UnprintableError(BrokerError):
    """Raised in place of a job's exception that Python cannot print; `original` is that exception.

    Log handlers and Dramatiq's Retries print what they are handed, and would fail by it: the thread would end.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(describe_error(original))
        self.original = original


class Cancelled(Interrupt):
    """Raised inside a job that an operator cancels; catch it only to clean up, and raise it again."""
