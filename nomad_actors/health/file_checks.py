"""The files that we keep: that we can write them, that others cannot read them, that no key is lost."""

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
from .writable import closed, outermost


def files(installation: Installation) -> Iterator[Finding]:
    """Tell what this user cannot write, and what others may use."""
    settings = installation.settings
    paths = our_files(settings.var_dir, settings.database_path)
    unwritable = list(closed("files", paths, directory=settings.var_dir))
    yield from unwritable
    readable = list(dict.fromkeys(found_open(paths)))
    if readable:
        yield Finding("files", Severity.WARNING, f"others may use {in_words(readable)}", _closing(paths))
    if not unwritable and not readable:
        yield Finding("files", Severity.OK, f"what we keep in {settings.var_dir} is its owner's alone")


def database_writes(installation: Installation) -> Iterator[Finding]:
    """Report a SQLite database that can be read but not written to, which needs its directory too."""
    path = installation.settings.database_path
    if path is None or not os.path.exists(path):
        return
    beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    yield from closed("database writes", (path, *beside), directory=path.parent)


def token_keys(installation: Installation) -> Iterator[Finding]:
    """Tell whether the keys at hand decrypt all logins; a process without keys, as the admin is, cannot tell."""
    settings = installation.settings
    try:
        cipher = TokenCipher.at_hand(settings)
        if cipher is None and (settings.database_path is None or installation.database is not None):
            return
        logins = _logins_by_key(installation)
        ids = [] if cipher is None else cipher.key_ids
        refuse_lost_keys(logins, ids, "the key file" if cipher is None else cipher.source)
    except SettingsError as error:
        yield Finding("token keys", Severity.PROBLEM, str(error), "correct it; nomad run workers says the same")
    except CannotStart as error:
        yield Finding("token keys", Severity.PROBLEM, error.found, error.fix)
    else:
        if logins:
            yield Finding("token keys", Severity.OK, f"{counted(sum(logins.values()), 'login')} can be decrypted")


def _closing(paths: Sequence[Path]) -> str:
    """Return the command that closes what is open at and below `paths`, and nothing else: others may use the directory
    that they lie in.
    """
    tops = [path for path in paths if found_open([path])]
    return f"chmod -R go= {shlex.join(map(str, outermost(tops)))}"


def _logins_by_key(installation: Installation) -> Mapping[str, int]:
    if installation.database is not None:
        return stored_logins_by_key(installation.database)
    with closing(Database(installation.settings.database_url)) as database:
        return stored_logins_by_key(database)
