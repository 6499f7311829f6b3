"""Files that only their owner can use: they contain tokens, job data and passwords."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

UMASK = 0o077
_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")
#: Our files in `var_dir`, by full name: others may have an `admin/` or `redis-data/` there.
_NAMES = {"token.key", "admin-token", "redis", "metrics", *("nomad.db" + suffix for suffix in _DATABASE_SUFFIXES)}
#: Temporary files of the two secrets, which a killed process leaves behind; `_draft` names them.
_DRAFT = re.compile(r"\.(token\.key|admin-token)\.[0-9]+\.[0-9a-f]{8}")
#: How many paths a message lists.
_NAMED = 3
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_files_private() -> None:
    """Set the umask so that only the owner can use files that this process and its children create."""
    os.umask(UMASK)


def make_directory(path: Path) -> None:
    """Create a directory (0700) with its missing parents; raises `OSError`."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    # Raises as `Path.mkdir` does if the path is not a directory.
    path.mkdir(exist_ok=True)


def make_file(path: Path) -> None:
    """Create an empty file (0600) unless it exists, independent of the umask.

    An existing file is not opened: closing a SQLite file releases every lock that this process has on it, and later
    writes can be lost (https://www.sqlite.org/howtocorrupt.html, 2.2). Raises `OSError`.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def write(path: Path, text: str) -> None:
    """Write a file (0600) atomically: a reader sees the complete old or new text, even after a power failure.

    Raises `OSError`.
    """
    with _draft(path, text) as draft:
        draft.replace(path)


def write_new(path: Path, text: str) -> bool:
    """Write a file (0600) as `write` does and return True, or return False if it already exists.

    If several processes do so at the same time, exactly one succeeds. Raises `OSError`.
    """
    with _draft(path, text) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        return True


@contextlib.contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Yield the path of a temporary file next to `path` that contains `text` and is synced to disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def open_to_others(path: Path) -> bool:
    """Return whether anyone but the owner may use a file or directory; False for links and devices."""
    mode = path.lstat().st_mode
    return (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and bool(mode & _OTHERS)


def make_private(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Remove the permissions of group and others at and below `paths`.

    Returns the changed paths, and those that could not be changed.
    """
    changed, still_open = [], []
    for path in _all_below(paths):
        try:
            if open_to_others(path):
                path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~_OTHERS)
                changed.append(path)
        except FileNotFoundError:
            continue
        except OSError:
            still_open.append(path)
    return changed, still_open


def found_open(paths: Sequence[Path]) -> list[Path]:
    """Return the paths at and below `paths` that others than the owner may use."""
    found = []
    for path in _all_below(paths):
        with contextlib.suppress(FileNotFoundError):
            if open_to_others(path):
                found.append(path)
    return found


def our_files(var_dir: Path, database: Path | None) -> list[Path]:
    """Return our files in `var_dir`, and the database file with its companion files.

    `var_dir` itself is included only if it contains nothing else: an operator may have chosen a shared directory.
    """
    entries = _entries(var_dir)
    found = {path for path in entries if path.name in _NAMES or _DRAFT.fullmatch(path.name)}
    if database is not None:
        found |= {database.with_name(database.name + suffix) for suffix in _DATABASE_SUFFIXES}
    is_ours = bool(entries) and entries <= found
    return [*([var_dir] if is_ours else []), *sorted(found)]


def in_words(paths: Sequence[Path]) -> str:
    """Return paths as text for a message: the first few, and how many more there are."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(map(str, paths[:_NAMED])) + more


def _entries(directory: Path) -> set[Path]:
    try:
        return set(directory.iterdir())
    except OSError:
        # It does not exist or belongs to another user; writing to it will report that.
        return set()


def _all_below(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        # Unlike the methods of Path, these return False for paths that we may not access.
        if os.path.islink(path) or not os.path.exists(path):
            continue
        yield path
        if os.path.isdir(path):
            for directory, directories, files in os.walk(path):
                yield from (Path(directory, name) for name in (*directories, *files))
