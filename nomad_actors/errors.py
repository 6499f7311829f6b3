"""Every error that this project raises on purpose.

NomadError
├── SettingsError      an environment variable is wrong
├── BadInput           a caller's value is refused; carries what is accepted
│   ├── BadPayload
│   ├── KeyConflict
│   ├── UnknownQueue
│   ├── UnknownJobType
│   ├── UnknownSchedule
│   └── UnknownState
├── JobNotFound        no such job in this queue
├── WrongState         the job's state does not allow the action
│   └── QueueIsFull    the queue takes no more jobs
├── TryLater           it can be had later; says when, and a job that meets it is deferred until then
├── Unavailable        Redis or the database does not answer
│   ├── UnreadableQueue   a key of a queue holds something else than is kept there
│   └── Unusable       …and will not until somebody changes something; a CannotStart too
└── CannotStart        a program cannot start until somebody changes something

How a job ends itself (`Defer`, `PermanentError`) is the broker's affair: `nomad_actors.broker.errors`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from .logs.foreign_text import safe_repr, safe_str

#: What others name as the time to come back is believed up to a day: nothing of CCP's is closed for longer.
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0


class NomadError(Exception):
    """The base of this project's errors."""


class SettingsError(NomadError):
    """Raised when environment variables are wrong; one line a variable."""

    def __init__(self, problems: Sequence[str]) -> None:
        # An environment may hold bytes that are no UTF-8; what a program says of them can always be written.
        self.problems = tuple(each.encode(errors="backslashreplace").decode() for each in problems)
        super().__init__("\n".join(self.problems))


class BadInput(NomadError):
    """Raised when a caller's value is refused; the message names the value and what is accepted."""

    def __init__(self, message: str, *, accepted: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.accepted = tuple(accepted)


class BadPayload(BadInput):
    """Raised when a job's data does not fit its job type's payload."""


class _UnknownName(BadInput):
    kind: str

    def __init__(self, name: object, accepted: Iterable[str]) -> None:
        names = sorted(map(str, accepted))
        nearest = difflib.get_close_matches(safe_str(name, 200), names, n=3)
        hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        super().__init__(
            f"unknown {self.kind} {safe_repr(name, 200)}{hint} (accepted: {', '.join(names) or 'none declared'})",
            accepted=names,
        )


class UnknownQueue(_UnknownName):
    """Raised when a queue is named that no job type uses and nobody declared."""

    kind = "queue"


class UnknownJobType(_UnknownName):
    """Raised when a job type is named that is not registered."""

    kind = "job type"


class UnknownSchedule(_UnknownName):
    """Raised when a schedule is named that does not exist."""

    kind = "schedule"


class UnknownState(_UnknownName):
    """Raised when a job state is named that does not exist, or that the action does not take."""

    kind = "state"


class JobNotFound(NomadError):
    """Raised when a queue holds no job of this id."""


class WrongState(NomadError):
    """Raised when a job is in a state that does not allow the action."""


class QueueIsFull(WrongState):
    """Raised when jobs are added to a queue that may hold no more; none was added."""


class KeyConflict(BadInput):
    """Raised when an idempotency key was used for another call; names the job that it added."""


class TryLater(NomadError):
    """Raised when something can be had later; a job that does not catch it is deferred, and spends no attempt.

    `retry_after_seconds` is at least a second, since whoever asks at once is told the same, and a day at most.
    """

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = min(max(retry_after_seconds, 1.0), MAX_RETRY_AFTER_SECONDS)


class Unavailable(NomadError):
    """Raised when Redis or the database does not answer; the cause is chained."""


class CannotStart(NomadError):
    """Raised when a program cannot start until somebody changes something: to start it again does not help."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}; {fix}")
        self.found, self.fix = found, fix


class Unusable(Unavailable, CannotStart):
    """Raised when the database cannot be used until somebody changes something; the cause is chained."""


class UnreadableQueue(Unavailable):
    """Raised when a key of a queue in Redis holds something else than is kept there; `nomad doctor` names the key."""
