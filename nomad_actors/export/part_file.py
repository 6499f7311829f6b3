"""`FILE.part`: what an export has written so far, and `FILE.part.json`: how much of it is complete.

Rows are synced to disk before the second file, which is replaced atomically, names them. So after a crash at any moment
it names a prefix that is complete; what follows that prefix is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import WrongState


@dataclass(frozen=True)
class Done:
    """How far an export has come: the bytes and rows, and the cursor of the last row.

    `corrections` is how often ESI had changed such a row when the export began, `finished` the name of the file that is
    being renamed to the target.
    """

    export: Mapping[str, Any]
    corrections: int = 0
    bytes: int = 0
    rows: int = 0
    cursor: str | None = None
    finished: str | None = None


class PartFile:
    """The part file of one export, which no other process may write at the same time."""

    def __init__(self, path: Path, state_path: Path, file: BinaryIO) -> None:
        self.path, self._state_path, self._file = path, state_path, file

    @property
    def is_empty(self) -> bool:
        return os.fstat(self._file.fileno()).st_size == 0

    def done(self) -> Done | None:
        """Return how far the file has come; None if no export has begun to write it."""
        found = _read(self._state_path)
        if found is None:
            return None
        # Somebody may have shortened it.
        is_there = found.bytes <= os.fstat(self._file.fileno()).st_size
        return found if is_there else replace(found, cursor=None)

    def begin(self, done: Done) -> None:
        """Cut off everything after `done`."""
        self._file.truncate(done.bytes)
        self._file.seek(done.bytes)
        self._save(replace(done, finished=None))

    def append(self, done: Done, data: bytes, rows: int, cursor: str | None) -> Done:
        """Write more rows after `done`; return how far the file has come then."""
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())
        following = replace(done, bytes=done.bytes + len(data), rows=done.rows + rows, cursor=cursor)
        self._save(following)
        return following

    def replace_with(self, done: Done, finished: Path, target: Path) -> None:
        """Make `finished`, this file or one that was made of it, the target, and remove the rest."""
        self._save(replace(done, finished=finished.name))
        finished.replace(target)
        # A part file that was renamed is gone; one of this name is another export's.
        _remove(*({self.path} - {finished}), self._state_path)

    def _save(self, done: Done) -> None:
        # Always of the same name: one that a killed process leaves behind is replaced by the next.
        draft = self._state_path.with_name(f"{self._state_path.name}.new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(done), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._state_path)


def completed(target: Path) -> Done | None:
    """Return the export that was killed when its file had just become the target, and remove what is left of it."""
    path, state_path = _paths(target)
    done = _read(state_path)
    if done is None or done.finished is None or path.with_name(done.finished).exists() or not target.exists():
        return None
    _remove(path, state_path)
    return done


@contextlib.contextmanager
def part_file(target: Path) -> Iterator[PartFile]:
    """Open the part file of `target` for a `with` block.

    Raises `WrongState` if another export is writing it, `OSError`.
    """
    path, state_path = _paths(target)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WrongState(f"another export is writing {path}: wait for its end, or write another file") from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise WrongState(f"another export has just finished {path}: repeat the command")
        yield PartFile(path, state_path, file)


def _paths(target: Path) -> tuple[Path, Path]:
    return target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")


def _read(state_path: Path) -> Done | None:
    try:
        return Done(**json.loads(state_path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
