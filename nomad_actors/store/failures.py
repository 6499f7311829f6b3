"""What a database driver's error means: wait and try again, or somebody must act first."""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from ..errors import Unavailable, Unusable

_ELSEWHERE = "or name another file in DATABASE_URL"
_PERMISSIONS = f"let this process' user write to it and its directory (chown; no read-only mount), {_ELSEWHERE}"
_ROOM = "make room on its disk (df -h)"
_RESTORE = f"restore it from a backup, {_ELSEWHERE}"

#: By SQLite's primary result code: what is wrong, and what to do.
_SQLITE = {
    sqlite3.SQLITE_PERM: ("access is denied", _PERMISSIONS),
    sqlite3.SQLITE_READONLY: ("it cannot be written to", _PERMISSIONS),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", _PERMISSIONS),
    sqlite3.SQLITE_FULL: ("the disk is full", _ROOM),
    sqlite3.SQLITE_IOERR: ("its disk gives an error", f"look at the disk: dmesg, df -h; {_ROOM}"),
    sqlite3.SQLITE_NOTADB: ("it is not a SQLite database", _RESTORE),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", _RESTORE),
}
_OS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), ("it cannot be written to", _PERMISSIONS)),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ("the disk is full", _ROOM)),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT),
        ("there is no such place for a file", f"make its directory, {_ELSEWHERE}"),
    ),
}


def as_unavailable(error: Exception, url: URL) -> Unavailable:
    """Return an error of reaching the database as ours: `Unusable` if waiting does not help."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if found := _for_good(cause):
        what, fix = found
        return Unusable(f"the database {url.database} cannot be used: {what} ({cause})", fix)
    return Unavailable(f"the database does not answer: {cause}")


def _for_good(cause: BaseException) -> tuple[str, str] | None:
    if isinstance(cause, sqlite3.Error):
        return _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    # A socket's error is one of the network, which comes back.
    if isinstance(cause, OSError) and cause.filename is not None:
        return _OS.get(cause.errno or 0)
    return None
