"""How `nomad` ends: an exit code for each kind of error, one line on standard error, never a traceback."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from ..errors import ExitCode, NomadError, Unavailable
from ..logs import redact
from ..logs.foreign_text import describe_error, traceback_of
from ..processes.program import ProgramExit
from .report import printable
from .standard_streams import discard_stdout, is_stream_error, prepare


class Interrupted(NomadError):
    """Raised at Ctrl-C if something that the command started continues; the message says what."""

    exit_code = ExitCode.INTERRUPTED


INTERRUPTED = "interrupted: nothing more is done"


class OneLineGroup(TyperGroup):
    """A group of commands that reports every error as one line and an exit code."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> Any:
        warnings.showwarning = _show_warning
        if not prepare():
            closed = "nothing was done: standard output is closed (allowed: a file, /dev/null too)"
            sys.exit(_print_error(closed, ExitCode.FAILED))
        for argument in sys.argv[1:] if args is None else args:
            if not _is_text(argument):
                sys.exit(_print_error(f"argument {argument!r} is not text (allowed: UTF-8)", ExitCode.USAGE))
        try:
            code = super().main(args, *others, **{**extra, "standalone_mode": False})
            sys.stdout.flush()
        except TyperException as error:
            sys.exit(_usage(error))
        except NomadError as error:
            hint = "; see: nomad doctor" if isinstance(error, Unavailable) else ""
            sys.exit(_print_error(f"{str(error).rstrip('.') if hint else error}{hint}", error.exit_code))
        except (typer.Abort, KeyboardInterrupt):
            sys.exit(_print_error(INTERRUPTED, ExitCode.INTERRUPTED))
        except ProgramExit:
            raise
        except BaseException as error:
            if _is_end_of_pipe(error):
                # The reader of our output has closed the pipe.
                discard_stdout()
                sys.exit(ExitCode.FAILED)
            if isinstance(error, OSError) and is_stream_error(error):
                discard_stdout()
                sys.exit(_print_error(f"standard output cannot be written: {error.strerror}", ExitCode.FAILED))
            culprit = "nomad itself" if issubclass(type(error), Exception) else "code that nomad called"
            sys.exit(_print_error(f"unexpected error in {culprit}: {describe_error(error)}", ExitCode.FAILED))
        if code == ExitCode.INTERRUPTED:
            # typer has caught the KeyboardInterrupt.
            _print_error(INTERRUPTED, ExitCode.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _is_end_of_pipe(error: BaseException) -> bool:
    """Return True if the reader of our output has closed the pipe. Typer turns that error into a SystemExit."""
    if type(error) is not SystemExit:
        return type(error) is BrokenPipeError
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(traceback_of(error))]
    return frames[-1].partition(".")[0] in ("typer", "click")


def _is_text(argument: str) -> bool:
    """Return True if an argument is valid UTF-8. Python passes other bytes as lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in argument)


def _usage(error: TyperException) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message.strip() or "\n" in message.strip():
        # No command was given: the message is the help text.
        sys.stderr.writelines(f"{printable(line)}\n" for line in message.rstrip().splitlines())
        return ExitCode.USAGE
    where = f" (see: {context.command_path} --help)" if context is not None else ""
    return _print_error(message.rstrip(".") + where, ExitCode.USAGE)


def _print_error(text: str, code: ExitCode) -> ExitCode:
    line = printable(" ".join(redact(text).split()))
    sys.stderr.write(f"nomad: {line}\n")
    return code


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f"nomad: warning: {printable(str(message))}\n")
