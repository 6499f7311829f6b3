"""The token key that is made when none is given: one file, made once, readable by its owner only."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from ..errors import CannotStart, SettingsError
from ..processes.private_files import make_directory, write_new
from ..settings.token_keys import is_strong

KEY_FILE = "token.key"

logger = logging.getLogger(__name__)


def read_key(directory: Path) -> str | None:
    """Return the key in `directory`, None if there is no such file.

    Raises `SettingsError` when the file cannot be read, or holds no key that is strong enough.
    """
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
        why = "does not hold a key of 32 random bytes; to read what it encrypted, set NOMAD_TOKEN_KEYS to a new key "
        raise SettingsError([_unusable(path, f"{why}(openssl rand -base64 32), a comma, and what the file holds")])
    return key


def make_key(directory: Path) -> str:
    """Return the key in `directory`, which is made unless it is there; many processes may do so at once.

    Raises `CannotStart` when it cannot be made, `SettingsError` when the one there is cannot be used.
    """
    path = directory / KEY_FILE
    try:
        make_directory(directory)
        # Of several processes one wins, and none ever reads half a key.
        if write_new(path, secrets.token_urlsafe(32) + "\n"):
            logger.warning(
                "made a key for the stored tokens in %s: back it up with the database, for without it every "
                "character must log in again; or set NOMAD_TOKEN_KEYS",
                path,
            )
    except OSError as error:
        # Without the name of the draft, which is none of the operator's.
        raise CannotStart(
            f"{path}, the key of the stored logins, cannot be made ({error.strerror})",
            "let this process' user write there, name another directory in NOMAD_VAR_DIR, or set NOMAD_TOKEN_KEYS",
        ) from error
    return read_key(directory) or make_key(directory)


def _unusable(path: Path, why: str) -> str:
    return f"NOMAD_TOKEN_KEYS is not set, and {path} {why}"
