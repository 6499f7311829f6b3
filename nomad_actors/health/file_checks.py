"""Our files: can we write them, can others read them, and are all keys there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from ..errors import CannotStart, SettingsError
from ..findings import Finding, Severity
from ..logs.counted import counted
from ..processes.private_files import found_open, in_words, our_files
from ..store import TokenCipher
from ..store.database import Database
from ..store.login_keys import refuse_lost_keys, stored_logins_by_key
from .installation import Installation
from .writable import outermost, unwritable


def files(installation: Installation) -> Iterator[Finding]:
    """Report files that this user cannot write, and files that other users may read or write."""
    settings = installation.settings
    paths = our_files(settings.var_dir, settings.database_path)
    denied = list(unwritable("files", paths, directory=settings.var_dir))
    yield from denied
    readable = list(dict.fromkeys(found_open(paths)))
    if readable:
        yield Finding(
            "files", Severity.WARNING, f"other users may read or write {in_words(readable)}", _make_private(paths)
        )
    if not denied and not readable:
        yield Finding("files", Severity.OK, f"only their owner may use the files in {settings.var_dir}")


def database_writes(installation: Installation) -> Iterator[Finding]:
    """Report a SQLite database that can be read but not written to, which needs its directory too."""
    path = installation.settings.database_path
    if path is None or not os.path.exists(path):
        return
    files = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    yield from unwritable("database writes", (path, *files), directory=path.parent)


def token_keys(installation: Installation) -> Iterator[Finding]:
    """Report whether the available keys decrypt all logins; a process without keys, such as the admin, cannot tell."""
    settings = installation.settings
    try:
        cipher = TokenCipher.at_hand(settings)
        if cipher is None and (settings.database_path is None or installation.database is not None):
            return
        logins = _logins_by_key(installation)
        ids = [] if cipher is None else cipher.key_ids
        refuse_lost_keys(logins, ids, "the key file" if cipher is None else cipher.source)
    except SettingsError as error:
        yield Finding("token keys", Severity.PROBLEM, str(error), "correct it; nomad run workers reports the same")
    except CannotStart as error:
        yield Finding("token keys", Severity.PROBLEM, error.found, error.fix)
    else:
        if logins:
            yield Finding("token keys", Severity.OK, f"{counted(sum(logins.values()), 'login')} can be decrypted")


def _make_private(paths: Sequence[Path]) -> str:
    # Not the directory around them, which other programs may use.
    tops = [path for path in paths if found_open([path])]
    return f"chmod -R go= {shlex.join(map(str, outermost(tops)))}"


def _logins_by_key(installation: Installation) -> Mapping[str, int]:
    if installation.database is not None:
        return stored_logins_by_key(installation.database)
    with closing(Database(installation.settings.database_url)) as database:
        return stored_logins_by_key(database)
