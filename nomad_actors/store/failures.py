"""Classification of database errors: temporary, or an operator must act first."""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from ..errors import Unavailable, Unusable

_ELSEWHERE = "or set another file in DATABASE_URL"
_PERMISSIONS = f"make it and its directory writable for this process's user (chown; no read-only mount), {_ELSEWHERE}"
_ROOM = "free space on its disk (df -h)"
_RESTORE = f"restore it from a backup, {_ELSEWHERE}"

#: By SQLite's primary result code: what is wrong, and what to do.
_SQLITE = {
    sqlite3.SQLITE_PERM: ("access is denied", _PERMISSIONS),
    sqlite3.SQLITE_READONLY: ("it cannot be written to", _PERMISSIONS),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", _PERMISSIONS),
    sqlite3.SQLITE_FULL: ("the disk is full", _ROOM),
    sqlite3.SQLITE_IOERR: ("its disk returns errors", f"check the disk: dmesg, df -h; {_ROOM}"),
    sqlite3.SQLITE_NOTADB: ("it is not a SQLite database", _RESTORE),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", _RESTORE),
}
_OS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), ("it cannot be written to", _PERMISSIONS)),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ("the disk is full", _ROOM)),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT),
        ("its directory does not exist", f"create its directory, {_ELSEWHERE}"),
    ),
}


def as_unavailable(error: Exception, url: URL) -> Unavailable:
    """Return a driver's error as `Unavailable`, or as `Unusable` if waiting does not help."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if found := _permanent(cause):
        what, fix = found
        return Unusable(f"the database {url.database} cannot be used: {what} ({cause})", fix)
    return Unavailable(f"the database does not answer: {cause}")


def _permanent(cause: BaseException) -> tuple[str, str] | None:
    if isinstance(cause, sqlite3.Error):
        return _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    # An error without a file name is one of the network, which is temporary.
    if isinstance(cause, OSError) and cause.filename is not None:
        return _OS.get(cause.errno or 0)
    return None
