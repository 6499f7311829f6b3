"""Checks whether this process may write to files, and returns the command that fixes it."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..findings import Finding, Severity
from ..processes.private_files import in_words

_MOUNTS = Path("/proc/self/mountinfo")
_FOR_THE_PROGRAMS = "as the programs' user: if they run as another one, run nomad doctor as that user first"


def unwritable(name: str, paths: Iterable[Path], *, directory: Path) -> Iterator[Finding]:
    """Yield findings of the check `name`, one per cause, about existing paths and `directory` that we cannot write.

    If the directory is not one of the paths, other programs may have files in it, so its content is not changed.
    """
    ours = list(paths)
    failing = [path for path in dict.fromkeys((directory, *ours)) if os.path.exists(path) and not _may_write(path)]
    denied = [path for path in failing if not _is_read_only(path)]
    remounts: dict[str, list[Path]] = {}
    for path in failing:
        if path not in denied:
            remounts.setdefault(_remount(path), []).append(path)
    for command, of_mount in remounts.items():
        yield Finding(name, Severity.PROBLEM, f"cannot write {in_words(of_mount)}: mounted read-only", command)
    if denied:
        found = f"this user (uid {os.getuid()}) cannot write {in_words(denied)}"
        recursive = [path for path in denied if path in ours]
        commands = [_grant(recursive, "-R ")] if recursive else []
        commands += [_grant([directory], "")] if directory in denied and directory not in ours else []
        yield Finding(name, Severity.PROBLEM, found, f"{' && '.join(commands)}\n{_FOR_THE_PROGRAMS}")


def outermost(paths: Sequence[Path]) -> list[Path]:
    """Return the paths that are not below another one of them."""
    return [path for path in paths if not any(other in path.parents for other in paths)]


def _may_write(path: Path) -> bool:
    # Is False on a read-only file system, even for root.
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _grant(paths: list[Path], recursive: str) -> str:
    """Return the command that lets this user write: `chown`, or `chmod` if the user owns all paths."""
    names = shlex.join(map(str, outermost(paths)))
    if all(path.stat().st_uid == os.getuid() for path in paths):
        return f"chmod {recursive}u+rwX {names}"
    return f"chown {recursive}{shlex.quote(_user())} {names}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # As in a container that runs as an arbitrary uid.
        return str(os.getuid())


def _remount(path: Path) -> str:
    """Return the command that makes the path's mount writable."""
    path = path.resolve()
    found = [mount for mount in _mounts() if mount.point in (path, *path.parents)]
    # Of two mounts at one point the later one hides the other.
    point, options = max(found, key=lambda mount: len(mount.point.parts), default=_Mount(path, "rw"))
    return f"mount -o remount,{options} {shlex.quote(str(point))}"


class _Mount(NamedTuple):
    """A mount point, and the options that make it writable."""

    point: Path
    options: str


def _mounts() -> list[_Mount]:
    """Return the mounts that this process sees, the latest first; empty if not on Linux."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [_mount(line) for line in reversed(lines)]


def _mount(line: str) -> _Mount:
    mount, _, file_system = line.partition(" - ")
    fields = mount.split(" ")
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
    # A bind mount may be read-only on a file system that is not.
    is_bind = "ro" in fields[5].split(",") and "ro" not in file_system.split(" ")[-1].split(",")
    return _Mount(Path(point), "bind,rw" if is_bind else "rw")
