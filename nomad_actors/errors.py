"""The base of every error that this project raises on purpose, outside the broker, and those that several parts share.

NomadError
├── SettingsError            an environment variable is wrong
├── WrongEntry               settings/admin_tokens.py
├── WrongRedisUrl            settings/redis_urls.py
├── BadInput                 a caller's value is refused; carries what is accepted
│   ├── BadPayload
│   ├── KeyConflict          an idempotency key was used for another call
│   └── UnknownName          says the nearest names
│       ├── UnknownQueue
│       ├── UnknownJobType
│       ├── UnknownSchedule
│       └── UnknownState
├── JobNotFound              no such job in this queue
│   └── OperationNotFound    queues/bulk/operations.py
├── WrongState               the job's state does not allow the action
│   └── QueueIsFull          the queue takes no more jobs
├── TryLater                 it can be had later; says when, and a job that meets it is deferred until then
│   ├── EsiLimited           esi/errors.py
│   ├── SsoLimited           esi/errors.py
│   ├── LoginInDoubt         jobs/token_keeper.py
│   └── RefreshBusy          jobs/token_keeper.py
├── Unavailable              Redis or the database does not answer
│   ├── UnreadableQueue      a key of a queue holds another type
│   └── Unusable             …and will not until somebody changes something; a CannotStart too
│       └── SchemaTooNew     store/migrate.py
├── CannotStart              a program cannot start until somebody changes something
│   ├── Unusable
│   ├── KeyIsLost            store/login_keys.py
│   ├── NoRedisProgram       processes/local_redis.py
│   └── NoPort               admin/serve.py
├── NoRedisServer            processes/local_redis.py
│   └── NoRedisProgram
├── RunsAlready              processes/own_redis.py
├── EsiError                 esi/errors.py
│   ├── EsiUnavailable
│   │   └── EsiLimited
│   └── EsiRefused
├── SsoError                 esi/errors.py
│   ├── DeadLogin
│   ├── SsoMisconfigured
│   └── SsoUnavailable
│       └── SsoLimited
├── UndecryptableToken       store/cipher.py
├── UnexpectedRow            store/history/rows.py
├── LoginChanged             store/logins.py
├── LinkUsed                 store/sessions.py
├── NoLocalToken             store/local_token.py
├── NoSession                admin/access/sessions.py
├── Refused                  admin/access/guard.py
├── Interrupted              commands/exits.py
├── LoginFailed              commands/sso_login.py
└── StillGoing               commands/waiting.py

The broker's errors have a base of their own: `nomad_actors.broker.errors`. `Defer` and `PermanentError`, by which a job
ends itself, are there. `ProgramExit` (processes/program.py) is in no tree: it is a SystemExit, and no
`except Exception` may swallow it.
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


class UnknownName(BadInput):
    """Raised when a caller names what does not exist; the message has the nearest names."""

    kind: str

    def __init__(self, name: object, accepted: Iterable[str]) -> None:
        names = sorted(map(str, accepted))
        nearest = difflib.get_close_matches(safe_str(name, 200), names, n=3)
        hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        super().__init__(
            f"unknown {self.kind} {safe_repr(name, 200)}{hint} (accepted: {', '.join(names) or 'none declared'})",
            accepted=names,
        )


class UnknownQueue(UnknownName):
    """Raised when a queue is named that no job type uses and nobody declared."""

    kind = "queue"


class UnknownJobType(UnknownName):
    """Raised when a job type is named that is not registered."""

    kind = "job type"


class UnknownSchedule(UnknownName):
    """Raised when a schedule is named that does not exist."""

    kind = "schedule"


class UnknownState(UnknownName):
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
