"""What we write is its owner's alone: tokens, job data and passwords lie in it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

UMASK = 0o077
_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")
#: Our files in `var_dir`, by their whole names: others may keep an `admin/` or `redis-data/` there.
_NAMES = {"token.key", "admin-token", "redis", "metrics", *("nomad.db" + suffix for suffix in _DATABASE_SUFFIXES)}
#: Drafts of the two secrets, which a killed process leaves behind; `_draft` names them.
_DRAFT = re.compile(r"\.(token\.key|admin-token)\.[0-9]+\.[0-9a-f]{8}")
#: Paths in one sentence.
_NAMED = 3
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_files_private() -> None:
    """Let this process, and those that it starts, make files and directories that only their owner may use."""
    os.umask(UMASK)


def make_directory(path: Path) -> None:
    """Create a directory (0700) and those above it that are missing.

    Raises `OSError`.
    """
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    # As `Path.mkdir` would say it.
    path.mkdir(exist_ok=True)


def make_file(path: Path) -> None:
    """Create an empty file (0600) unless it is there, whatever the umask of this process is.

    One that is there is not opened: to close a SQLite file ends every lock that this process has on it, and what it
    writes afterwards can be lost (https://www.sqlite.org/howtocorrupt.html, 2.2). Raises `OSError`.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def write(path: Path, text: str) -> None:
    """Write a file (0600): whoever reads it finds the old text or the new one whole, also after a loss of power.

    Raises `OSError`.
    """
    with _draft(path, text) as draft:
        draft.replace(path)


def write_new(path: Path, text: str) -> bool:
    """Write a file (0600) as `write` does and return True, or return False when it is there already.

    Of several processes that do so at once, one wins. Raises `OSError`.
    """
    with _draft(path, text) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        return True


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Give the path of a file beside `path` that holds `text` and has reached the disk; it is gone afterwards."""
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
    """Return whether others than its owner may use a file or directory; links and devices do not count."""
    mode = path.lstat().st_mode
    return (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and bool(mode & _OTHERS)


def tighten(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Take others' rights from what lies at and below `paths`; return what was changed, and what is still open."""
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
    """Return what others may use of what lies at and below `paths`."""
    found = []
    for path in _all_below(paths):
        with contextlib.suppress(FileNotFoundError):
            if open_to_others(path):
                found.append(path)
    return found


def files_of(var_dir: Path, database: Path | None) -> list[Path]:
    """Return what we keep in `var_dir`, and a database file with what lies beside it.

    `var_dir` itself is among them only when it holds nothing else: an operator may have named a directory that others
    use too.
    """
    entries = _entries(var_dir)
    found = {path for path in entries if path.name in _NAMES or _DRAFT.fullmatch(path.name)}
    if database is not None:
        found |= {database.with_name(database.name + suffix) for suffix in _DATABASE_SUFFIXES}
    is_ours = bool(entries) and entries <= found
    return [*([var_dir] if is_ours else []), *sorted(found)]


def in_words(paths: Sequence[Path]) -> str:
    """Return a list of paths for a sentence: the first few, and how many more there are."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(map(str, paths[:_NAMED])) + more


def _entries(directory: Path) -> set[Path]:
    try:
        return set(directory.iterdir())
    except OSError:
        # It is not there, or another user's: whoever writes to it says so.
        return set()


def _all_below(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        # Unlike Path's, these say no of what we may not look at.
        if os.path.islink(path) or not os.path.exists(path):
            continue
        yield path
        if os.path.isdir(path):
            for directory, directories, files in os.walk(path):
                yield from (Path(directory, name) for name in (*directories, *files))
