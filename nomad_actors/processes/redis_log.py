"""Problems in the log of a Redis server: dropped commands, a truncated file, why it ended.

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
    """A kind of problem; a log line with any of the texts reports it."""

    texts: tuple[str, ...]
    #: PROBLEM if data was lost or the server cannot continue; WARNING if it repaired the problem itself.
    severity: Severity
    cause: str
    remedy: str
    #: A line with one of these means that earlier lines of this kind are resolved.
    solved: tuple[str, ...] = ()


COMPLAINTS = (
    Complaint(
        ("sending an error to its AOF-loading-client",),
        Severity.PROBLEM,
        "it dropped commands while it loaded its append-only file: jobs are lost",
        "stop it and copy its directory: the commands are in the append-only file until it is rewritten; then "
        "give its user `default` all permissions (user default off ~* &* +@all) and start it again",
    ),
    Complaint(
        ("Bad file format reading the append only file", "Unknown command", "Error reading the RDB preamble"),
        Severity.PROBLEM,
        "it cannot read its append-only file",
        "copy its directory, then repair the file: redis-check-aof --fix (of the same release as the server)",
    ),
    Complaint(
        ("Can't handle RDB format version",),
        Severity.PROBLEM,
        "its files were written by a newer release",
        "start that release or a later one",
    ),
    Complaint(
        ("Address already in use", "Failed listening on port"),
        Severity.PROBLEM,
        "another program uses its port",
        "stop that program; `make run` chooses another port when it is restarted",
    ),
    Complaint(
        ("Error writing to the AOF file", "Short write while writing to the AOF file", "No space left on device"),
        Severity.PROBLEM,
        "it could not write its append-only file",
        "free disk space on its host: df -h",
        # The first ends failing writes, the second a rewrite that alone ran out of space.
        solved=("AOF write error looks solved", "Background AOF rewrite finished successfully"),
    ),
    Complaint(
        ("Can't open the append-only file", "Can't open or create append-only", "Fatal error loading the DB"),
        Severity.PROBLEM,
        "it cannot open its files",
        "check that its directory exists and that its user may read and write it",
    ),
    Complaint(
        ("short read while loading the AOF", "because aof-load-truncated is enabled"),
        Severity.WARNING,
        "the end of its append-only file was incomplete and was cut off, as after a power failure",
        "nothing after a power failure (at most a second of changes is lost); otherwise check the disk",
    ),
)


@dataclass(frozen=True)
class Found:
    """A problem found in a log, the number of its lines, and the first of them."""

    finding: Finding
    lines: int
    first: str


def since_last_start(path: Path) -> list[str]:
    """Return the lines since the server's last start; none if there is no log or no start in it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _READ_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    starts = [number for number, line in enumerate(lines) if _has(line, _STARTING)]
    return lines[starts[-1] :] if starts else []


def complaints(lines: Sequence[str]) -> list[Found]:
    """Return the problems in the lines that are not resolved by a later line, serious ones first."""
    found = []
    for complaint in COMPLAINTS:
        last = max((number for number, line in enumerate(lines) if _has(line, complaint.solved)), default=-1)
        matching = [line for line in lines[last + 1 :] if _has(line, complaint.texts)]
        if matching:
            finding = Finding("redis log", complaint.severity, complaint.cause, complaint.remedy)
            found.append(Found(finding, len(matching), matching[0]))
    return found


def _has(line: str, texts: tuple[str, ...]) -> bool:
    return any(text in line for text in texts)
