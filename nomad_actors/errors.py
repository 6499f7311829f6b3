"""The base of every error that this project raises on purpose, outside the broker, and those that several parts share.

NomadError
├── SettingsError            an environment variable is wrong
├── WrongValue               an invalid value that may be secret; the message does not repeat it
├── BadInput                 a caller's value is refused; carries what is accepted
│   ├── BadCursor            broker/client/finder.py
│   ├── BadOption            broker/errors.py
│   ├── KeyReused            broker/errors.py
│   ├── BadPayload
│   ├── NotAcceptable        admin/inputs.py
│   ├── UnknownBrake
│   └── UnknownName          says the nearest names
│       ├── UnknownQueue
│       ├── UnknownJobType
│       ├── UnknownSchedule
│       ├── UnknownState
│       ├── UnknownDataset   admin/data/models.py
│       └── UnknownOrderState    admin/api/data.py
├── JobNotFound              no such job or bulk operation in this queue
├── UnknownCharacter         nothing is known of this character
├── NotCollected             admin/api/data.py
├── WrongState               the job's state does not allow the action
│   └── QueueFull            broker/errors.py
├── TryLater                 try again later; has the time, and its job is deferred until then
│   ├── EsiUnavailable       esi/errors.py
│   ├── NotSent              esi/errors.py
│   ├── SsoMisconfigured     esi/errors.py
│   ├── SsoUnavailable       esi/errors.py
│   ├── LoginInDoubt         jobs/token_keeper.py
│   ├── RefreshBusy          jobs/token_keeper.py
│   └── OwnerChanged         store/documents.py
├── Unavailable              Redis or the database does not answer
│   ├── RedisUnavailable     broker/errors.py
│   │   └── WrongKeyType
│   ├── UnreadableQueue      a key of a queue holds another type
│   │   └── WrongKeyType     broker/errors.py
│   └── Unusable             …and will not until somebody changes something; a CannotStart too
├── CannotStart              a program cannot start until somebody changes something
│   └── Unusable
├── NoRedisServer            processes/local_redis.py
├── RunsAlready              processes/own_redis.py
├── EsiError                 esi/errors.py
│   ├── EsiUnavailable
│   │   ├── TokenUnchecked
│   │   └── ListingChanged
│   ├── NotSent
│   │   └── StepEnded
│   └── EsiRefused
├── SsoError                 esi/errors.py
│   ├── DeadLogin
│   ├── SsoMisconfigured
│   └── SsoUnavailable
├── Unanswered               esi/transport.py
├── UndecryptableToken       store/cipher.py
├── UnexpectedRow            store/history/rows.py
├── LoginChanged             store/logins.py
├── LinkUsed                 store/sessions.py
├── NoLocalToken             store/local_token.py
├── Refused                  admin/access/guard.py
├── Interrupted              commands/exits.py
└── LoginFailed              commands/login_callback.py

The broker's errors have a base of their own: `nomad_actors.broker.errors`. `Defer` and `PermanentError`, by which a job
ends itself, are there. `ProgramExit` (processes/program.py) is in no tree: it is a SystemExit, and no
`except Exception` may swallow it.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import ClassVar, Final

from .logs.foreign_text import safe_repr, safe_str

#: A longer wait requested by another service is cut to a day: CCP's services are never closed for longer.
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0


class ExitCode(enum.IntEnum):
    """The exit codes of `nomad` and of our programs."""

    OK = 0
    #: The job failed, the installation is unhealthy, or the command failed for another reason.
    FAILED = 1
    #: A wrong argument, wrong data or a wrong setting.
    USAGE = 2
    #: No such queue, job, job type or schedule.
    NOT_FOUND = 3
    #: The job's state does not allow it.
    WRONG_STATE = 4
    #: Redis or the database does not respond.
    UNAVAILABLE = 5
    #: `nomad run`: a program cannot start until somebody changes something. EX_CONFIG of sysexits.h.
    CANNOT_START = 78
    #: Ctrl-C, as in shells.
    INTERRUPTED = 130


class NomadError(Exception):
    """The base of this project's errors."""

    #: The status of the admin's response to it, which the audit log stores too.
    http_status: ClassVar = HTTPStatus.INTERNAL_SERVER_ERROR
    #: How a command ends that raises it.
    exit_code: ClassVar = ExitCode.FAILED


class SettingsError(NomadError):
    """Raised if environment variables are invalid; the message has one line per variable."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Sequence[str]) -> None:
        # An environment may contain bytes that are not UTF-8; the message must be writable anyway.
        self.problems = tuple(each.encode(errors="backslashreplace").decode() for each in problems)
        super().__init__("\n".join(self.problems))


class WrongValue(NomadError, ValueError):
    """Raised for an invalid value that may contain secrets; says what is wrong with it without repeating it."""


class BadInput(NomadError):
    """Raised if a caller's value is invalid; the message contains the value and the allowed values."""

    http_status, exit_code = HTTPStatus.UNPROCESSABLE_ENTITY, ExitCode.USAGE

    def __init__(self, message: str, *, accepted: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.accepted = tuple(accepted)


class BadPayload(BadInput):
    """Raised if a job's data does not match the payload of its job type."""


class UnknownName(BadInput):
    """Raised when a caller names what does not exist; the message has the nearest names."""

    kind: str

    def __init__(self, name: object, accepted: Iterable[str]) -> None:
        names = sorted(map(str, accepted))
        nearest = difflib.get_close_matches(safe_str(name, 200), names, n=3)
        hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        super().__init__(
            f"unknown {self.kind} {safe_repr(name, 200)}{hint} (allowed: {', '.join(names) or 'none declared'})",
            accepted=names,
        )


class UnknownQueue(UnknownName):
    """Raised for the name of a queue that no job type uses and that was not declared."""

    kind = "queue"
    http_status, exit_code = HTTPStatus.NOT_FOUND, ExitCode.NOT_FOUND


class UnknownJobType(UnknownName):
    """Raised for the name of a job type that is not registered."""

    kind = "job type"
    exit_code = ExitCode.NOT_FOUND


class UnknownSchedule(UnknownName):
    """Raised for the name of a schedule that does not exist."""

    kind = "schedule"
    http_status, exit_code = HTTPStatus.NOT_FOUND, ExitCode.NOT_FOUND


class UnknownBrake(BadInput):
    """Raised for the name of a brake that is not in force."""

    http_status, exit_code = HTTPStatus.NOT_FOUND, ExitCode.NOT_FOUND

    def __init__(self, name: str, in_force: Iterable[str]) -> None:
        names = sorted(in_force)
        super().__init__(
            f"brake {safe_repr(name, 200)} is not in force (in force: {', '.join(names) or 'none'})", accepted=names
        )


class UnknownState(UnknownName):
    """Raised for a job state that does not exist, or that the action does not support."""

    kind = "state"


class JobNotFound(NomadError):
    """Raised if a queue has no job, or no bulk operation, with this id."""

    http_status, exit_code = HTTPStatus.NOT_FOUND, ExitCode.NOT_FOUND


class UnknownCharacter(NomadError):
    """Raised for a character that never logged in."""

    http_status, exit_code = HTTPStatus.NOT_FOUND, ExitCode.NOT_FOUND


class WrongState(NomadError):
    """Raised if the state of a job does not allow the action."""

    http_status, exit_code = HTTPStatus.CONFLICT, ExitCode.WRONG_STATE


class TryLater(NomadError):
    """Raised if something is available later; a job that does not catch it is deferred without spending an attempt.

    `retry_after_seconds` is at least a second, because an immediate retry would fail again, and at most a day.
    """

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = min(max(retry_after_seconds, 1.0), MAX_RETRY_AFTER_SECONDS)


class Unavailable(NomadError):
    """Raised if Redis or the database does not answer; the cause is chained."""

    http_status, exit_code = HTTPStatus.SERVICE_UNAVAILABLE, ExitCode.UNAVAILABLE


class CannotStart(NomadError):
    """Raised if a program cannot start until an operator changes something: a restart does not help."""

    exit_code = ExitCode.CANNOT_START

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}; {fix}")
        self.found, self.fix = found, fix


class Unusable(Unavailable, CannotStart):
    """Raised if the database cannot be used until an operator changes something; the cause is chained."""


class UnreadableQueue(Unavailable):
    """Raised if a key of a queue in Redis contains unexpected data; `nomad doctor` names the key."""
