"""Handles standard streams that are closed or full, or whose encoding lacks characters that we print."""

from __future__ import annotations

import codecs
import errno
import os
import sys

#: What is printed instead of characters that the output's encoding lacks.
_PLAIN = {"→": "->", "…": "...", "·": "-", "–": "-", "━": "-", "—": "-"}
_ERRORS = "nomad-plain"
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def prepare() -> bool:
    """Make the standard streams usable, even if they are closed; return False if there is no standard output.

    The file descriptor of a closed stream would be reused by the next file or socket, and output would go there.
    """
    has_stdout = sys.stdout is not None
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _open_null(number)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    codecs.register_error(_ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        # A replacement such as a test's recorder has no encoding to set.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
    return has_stdout


def is_stream_error(error: OSError) -> bool:
    """Return True if an error came from writing to a full or broken stream. An error of a file would name the file."""
    return error.filename is None and error.errno in _WRITE_ERRORS


def discard_stdout() -> None:
    """Discard unwritten output. Otherwise Python would report an error when it flushes at its exit."""
    _open_null(sys.stdout.fileno())


def _open_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    characters = (_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in text)
    return "".join(characters), error.end
