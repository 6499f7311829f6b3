"""The token key that is made when none is given: one file, made once, readable by its owner only."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from ..errors import SettingsError

KEY_FILE = "token.key"

logger = logging.getLogger(__name__)


def read_or_make_key(directory: Path) -> str:
    """Return the key in `directory`, which is made when it is not there; many processes may ask at once.

    Raises `SettingsError` when the file is empty, unreadable or cannot be made.
    """
    path = directory / KEY_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"NOMAD_TOKEN_KEYS is not set and {path} cannot be used: {error}"]) from error
    if not key:
        raise SettingsError([f"NOMAD_TOKEN_KEYS is not set and {path} is empty; put the key back into it"])
    if path.stat().st_mode & 0o077:
        logger.warning("%s can be read by others: chmod 600 it", path)
    return key


def _make(path: Path) -> None:
    # Written whole under another name, then linked: a link fails when the name is taken, so the first process
    # wins and no other ever reads half a key.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    logger.warning(
        "made a key for the stored tokens in %s: back it up with the database, for without it every "
        "character must log in again; or set NOMAD_TOKEN_KEYS",
        path,
    )
