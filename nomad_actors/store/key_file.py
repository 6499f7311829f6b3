"""The token key that is generated if none is set: one file, created once, readable only by its owner."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from ..errors import CannotStart, SettingsError
from ..processes.private_files import make_directory, write_new
from ..settings.values import is_strong

KEY_FILE = "token.key"

logger = logging.getLogger(__name__)


def read_key(directory: Path) -> str | None:
    """Return the key in `directory`, or None without a key file; raises `SettingsError` if the file is unusable."""
    path = directory / KEY_FILE
    try:
        if not os.path.lexists(path):
            return None
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([_unusable(path, f"cannot be read: {error}")]) from error
    if not key:
        raise SettingsError([_unusable(path, "is empty; put the key back into it")])
    if not is_strong(key):
        why = "does not contain a key of 32 random bytes; to read what it encrypted, set NOMAD_TOKEN_KEYS to a new key "
        raise SettingsError([_unusable(path, f"{why}(openssl rand -base64 32), a comma, and the content of the file")])
    return key


def make_key(directory: Path) -> str:
    """Return the key in `directory`, and create it if it is missing; several processes may do so at the same time.

    Raises `CannotStart` if it cannot be created, `SettingsError` if the existing one is invalid.
    """
    path = directory / KEY_FILE
    try:
        make_directory(directory)
        # One of several processes succeeds, and none ever reads half a key.
        if write_new(path, secrets.token_urlsafe(32) + "\n"):
            logger.warning(
                "created a key for the stored tokens in %s: back it up with the database, because without it every "
                "character must log in again; or set NOMAD_TOKEN_KEYS",
                path,
            )
    except OSError as error:
        # `strerror` leaves out the name of the temporary file, which means nothing to an operator.
        raise CannotStart(
            f"{path}, the key of the stored logins, cannot be created ({error.strerror})",
            "make it writable for this process's user, set another NOMAD_VAR_DIR, or set NOMAD_TOKEN_KEYS",
        ) from error
    return read_key(directory) or make_key(directory)


def _unusable(path: Path, why: str) -> str:
    return f"NOMAD_TOKEN_KEYS is not set, and {path} {why}"
