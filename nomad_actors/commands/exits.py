"""How `nomad` ends: one exit code a kind of ending, one line on standard error, never a traceback."""

from __future__ import annotations

import enum
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from ..errors import (
    BadInput,
    CannotStart,
    JobNotFound,
    NomadError,
    SettingsError,
    Unavailable,
    UnknownJobType,
    UnknownQueue,
    UnknownSchedule,
    WrongState,
)
from ..logs import redact
from ..logs.foreign_text import describe_error, traceback_of
from ..processes.program import ProgramExit
from .report import printable
from .standard_streams import give_up_stdout, is_of_stream, prepare


class ExitCode(enum.IntEnum):
    """What a caller's script sees."""

    OK = 0
    #: The job failed, the installation is not healthy, or the command could not do it for another reason.
    FAILED = 1
    #: Wrong usage, data or setting.
    USAGE = 2
    #: No such queue, job, job type or schedule.
    NOT_FOUND = 3
    #: The job's state does not allow it.
    WRONG_STATE = 4
    #: Redis or the database does not answer.
    UNAVAILABLE = 5
    #: A program cannot start until somebody changes something (`nomad run`): EX_CONFIG of sysexits.h.
    CANNOT_START = 78
    #: Ctrl-C, as shells tell it.
    INTERRUPTED = 130


class Interrupted(NomadError):
    """Raised at Ctrl-C where something goes on that the command has begun; the message says what."""


_CODES: tuple[tuple[type[NomadError], ExitCode], ...] = (
    (UnknownQueue, ExitCode.NOT_FOUND),
    (UnknownJobType, ExitCode.NOT_FOUND),
    (UnknownSchedule, ExitCode.NOT_FOUND),
    (JobNotFound, ExitCode.NOT_FOUND),
    (WrongState, ExitCode.WRONG_STATE),
    (Unavailable, ExitCode.UNAVAILABLE),
    (BadInput, ExitCode.USAGE),
    (SettingsError, ExitCode.USAGE),
    (CannotStart, ExitCode.CANNOT_START),
    (Interrupted, ExitCode.INTERRUPTED),
)


def exit_code_of(error: NomadError) -> ExitCode:
    """Return what an error of ours ends the command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


STOPPED = "stopped, nothing more is done"


class OneLineGroup(TyperGroup):
    """A group of commands whose every error is one line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name and exit."""
        warnings.showwarning = _show_warning
        if not prepare():
            closed = "nothing was done: standard output is closed (allowed: a file, also /dev/null)"
            sys.exit(_say(closed, ExitCode.FAILED))
        for given in sys.argv[1:] if args is None else args:
            if not _is_text(given):
                sys.exit(_say(f"argument {given!r} is no text (accepted: UTF-8)", ExitCode.USAGE))
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            sys.stdout.flush()
        except TyperException as error:
            sys.exit(_usage(error))
        except NomadError as error:
            sys.exit(_say(_with_hint(error), exit_code_of(error)))
        except (typer.Abort, KeyboardInterrupt):
            sys.exit(_say(STOPPED, ExitCode.INTERRUPTED))
        except ProgramExit:
            raise
        except BaseException as error:
            if _is_end_of_pipe(error):
                # Whoever read our output has enough.
                give_up_stdout()
                sys.exit(ExitCode.FAILED)
            if isinstance(error, OSError) and is_of_stream(error):
                give_up_stdout()
                sys.exit(_say(f"standard output cannot be written: {error.strerror}", ExitCode.FAILED))
            whose = "nomad itself" if issubclass(type(error), Exception) else "code that nomad called"
            sys.exit(_say(f"unexpected {describe_error(error)} (a fault of {whose})", ExitCode.FAILED))
        if code == ExitCode.INTERRUPTED:
            # typer has taken the KeyboardInterrupt for itself.
            _say(STOPPED, ExitCode.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _is_end_of_pipe(error: BaseException) -> bool:
    """Return whether our output is read no more; typer, where it meets that itself, makes a SystemExit of it."""
    if type(error) is not SystemExit:
        return type(error) is BrokenPipeError
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(traceback_of(error))]
    return frames[-1].partition(".")[0] in ("typer", "click")


def _is_text(argument: str) -> bool:
    """Return whether an argument was UTF-8: what was not, Python hands over as halves of surrogate pairs."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usage(error: TyperException) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message.strip() or "\n" in message.strip():
        # No command was named: the help is the answer.
        sys.stderr.writelines(f"{printable(line)}\n" for line in message.rstrip().splitlines())
        return ExitCode.USAGE
    where = f" (see: {context.command_path} --help)" if context is not None else ""
    return _say(message.rstrip(".") + where, ExitCode.USAGE)


def _with_hint(error: NomadError) -> str:
    if isinstance(error, Unavailable):
        return f"{str(error).rstrip('.')}; see: nomad doctor"
    return str(error)


def _say(text: str, code: ExitCode) -> ExitCode:
    line = printable(" ".join(redact(text).split()))
    sys.stderr.write(f"nomad: {line}\n")
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f"nomad: warning: {printable(str(message))}\n")
