"""Our files: can we write them, can others read them, and are all keys there."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import NamedTuple

from ..errors import CannotStart, SettingsError
from ..findings import Finding, Severity
from ..logs.counted import counted
from ..processes.private_files import found_open, in_words, our_files
from ..store import TokenCipher
from ..store.database import Database
from ..store.login_keys import refuse_lost_keys, stored_logins_by_key
from .installation import Installation

_MOUNTS = Path("/proc/self/mountinfo")
_FOR_THE_PROGRAMS = "as the programs' user: if they run as another one, run nomad doctor as that user first"


def files(installation: Installation) -> Iterator[Finding]:
    """Report files that this user cannot write, and files that other users may read or write."""
    settings = installation.settings
    paths = our_files(settings.var_dir, settings.database_path)
    denied = list(_unwritable("files", paths, directory=settings.var_dir))
    yield from denied
    readable = list(dict.fromkeys(found_open(paths)))
    if readable:
        # Not the directory around them, which other programs may use.
        private = shlex.join(map(str, _outermost([path for path in paths if found_open([path])])))
        found = f"other users may read or write {in_words(readable)}"
        yield Finding("files", Severity.WARNING, found, f"chmod -R go= {private}")
    if not denied and not readable:
        yield Finding("files", Severity.OK, f"only their owner may use the files in {settings.var_dir}")


def database_writes(installation: Installation) -> Iterator[Finding]:
    """Report a SQLite database that can be read but not written to, which needs its directory too."""
    path = installation.settings.database_path
    if path is None or not os.path.exists(path):
        return
    files = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    yield from _unwritable("database writes", (path, *files), directory=path.parent)


def token_keys(installation: Installation) -> Iterator[Finding]:
    """Report whether the available keys decrypt all logins; a process without keys, such as the admin, cannot tell."""
    settings = installation.settings
    try:
        cipher = TokenCipher.at_hand(settings)
        if cipher is None and (settings.database_path is None or installation.database is not None):
            return
        opened = installation.database
        with closing(Database(settings.database_url)) if opened is None else nullcontext(opened) as database:
            logins = stored_logins_by_key(database)
        ids = [] if cipher is None else cipher.key_ids
        refuse_lost_keys(logins, ids, "the key file" if cipher is None else cipher.source)
    except SettingsError as error:
        yield Finding("token keys", Severity.PROBLEM, str(error), "correct it; nomad run workers reports the same")
    except CannotStart as error:
        yield Finding("token keys", Severity.PROBLEM, error.found, error.fix)
    else:
        if logins:
            yield Finding("token keys", Severity.OK, f"{counted(sum(logins.values()), 'login')} can be decrypted")


def _unwritable(name: str, paths: Iterable[Path], *, directory: Path) -> Iterator[Finding]:
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


def _outermost(paths: Sequence[Path]) -> list[Path]:
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
    names = shlex.join(map(str, _outermost(paths)))
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
