"""The standard streams of a command: those that are closed, full, or of an encoding that lacks what we print."""

from __future__ import annotations

import codecs
import errno
import os
import sys

#: What is printed in place of characters that the output's encoding lacks.
_PLAIN = {"→": "->", "…": "...", "·": "-", "–": "-", "━": "-", "—": "-"}
_ERRORS = "nomad-plain"
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def prepare() -> bool:
    """Make the streams usable whatever was handed over; return False when there is no standard output.

    A closed stream is a file number that the next file or socket would get, and be printed into.
    """
    has_stdout = sys.stdout is not None
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _open_nothing(number)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        # What stands in for it, as a test's recorder, takes any text.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
    return has_stdout


def is_of_stream(error: OSError) -> bool:
    """Return whether an error is one of writing to a stream that is full or broken: a file's would name the file."""
    return error.filename is None and error.errno in _WRITING


def give_up_stdout() -> None:
    """Drop what is still to be written to standard output: Python would complain when it flushes at its end."""
    _open_nothing(sys.stdout.fileno())


def _open_nothing(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    words = (_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in text)
    return "".join(words), error.end
