"""What a Redis server logged while it read its files: commands that it dropped, an end that it cut off, why it ended.

The texts are those of Redis 6.2 to 7.4 and Valkey 8.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..findings import Finding, Severity

_STARTING = ("Redis is starting", "Valkey is starting")
#: More than a server logs in months.
_READ_BYTES = 4 << 20


@dataclass(frozen=True)
class Complaint:
    """A kind of line in the log: any of the texts marks it."""

    texts: tuple[str, ...]
    #: A problem where data was lost or the server cannot go on; a warning where it mended it by itself.
    finding: Finding
    #: Lines with one of these say that what the earlier ones complain about is over.
    solved: tuple[str, ...] = ()


def _found(severity: Severity, cause: str, remedy: str) -> Finding:
    return Finding("redis log", severity, cause, remedy)


COMPLAINTS = (
    Complaint(
        ("sending an error to its AOF-loading-client",),
        _found(
            Severity.PROBLEM,
            "it dropped commands while it read its append-only file: jobs are lost",
            "stop it and copy its directory: the commands are in the append-only file until it is rewritten; then "
            "let its user `default` do everything (user default off ~* &* +@all) and start it again",
        ),
    ),
    Complaint(
        ("Bad file format reading the append only file", "Unknown command", "Error reading the RDB preamble"),
        _found(
            Severity.PROBLEM,
            "it cannot read its append-only file",
            "copy its directory, then repair the file: redis-check-aof --fix (of the server's own release)",
        ),
    ),
    Complaint(
        ("Can't handle RDB format version",),
        _found(
            Severity.PROBLEM,
            "its files were written by a newer release",
            "start the newer release again, or one after it",
        ),
    ),
    Complaint(
        ("Address already in use", "Failed listening on port"),
        _found(
            Severity.PROBLEM,
            "another program has its port",
            "stop that program; `make run` chooses another port when it is started again",
        ),
    ),
    Complaint(
        ("Error writing to the AOF file", "Short write while writing to the AOF file", "No space left on device"),
        _found(Severity.PROBLEM, "it could not write its append-only file", "make room: df -h on its host"),
        # The first is of its own writes, the second of a rewrite, which ran out of room alone.
        solved=("AOF write error looks solved", "Background AOF rewrite finished successfully"),
    ),
    Complaint(
        ("Can't open the append-only file", "Can't open or create append-only", "Fatal error loading the DB"),
        _found(
            Severity.PROBLEM,
            "it cannot open its files",
            "see that its directory is there, and that its user may read and write it",
        ),
    ),
    Complaint(
        ("short read while loading the AOF", "because aof-load-truncated is enabled"),
        _found(
            Severity.WARNING,
            "the end of its append-only file was incomplete and was cut off, as after a loss of power",
            "nothing, if its host lost power (at most a second of changes is gone); else check the disk",
        ),
    ),
)


@dataclass(frozen=True)
class Found:
    """A complaint of a log, how many lines of it there are, and the first of them."""

    finding: Finding
    lines: int
    first: str


def since_last_start(path: Path) -> list[str]:
    """Return the lines since the server started last; none if there is no log, or none that begins with a start."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _READ_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    starts = [number for number, line in enumerate(lines) if _has(line, _STARTING)]
    return lines[starts[-1] :] if starts else []


def complaints(lines: Sequence[str]) -> list[Found]:
    """Return what the lines complain about and do not call solved later, the serious first."""
    found = []
    for complaint in COMPLAINTS:
        matching = [line for line in _unsolved(lines, complaint) if _has(line, complaint.texts)]
        if matching:
            found.append(Found(complaint.finding, len(matching), matching[0]))
    return found


def _unsolved(lines: Sequence[str], complaint: Complaint) -> Sequence[str]:
    last = max((number for number, line in enumerate(lines) if _has(line, complaint.solved)), default=-1)
    return lines[last + 1 :]


def _has(line: str, texts: tuple[str, ...]) -> bool:
    return any(text in line for text in texts)
