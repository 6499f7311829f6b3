"""The operator's token of a machine without configured tokens, and the one-time login links that it signs.

The token is created once, in a file that only its owner can read. A link is signed with the token, which proves that
its creator could read that file; it is valid for a few minutes, and the admin accepts it once.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from ..errors import NomadError
from ..processes import private_files
from ..settings.admin_tokens import OPERATOR, AdminToken, may_be_token, new_token, token_entry

TOKEN_FILE = "admin-token"
#: The name of its entry in the audit log.
NAME = "local"
#: How long a link is valid.
LINK_MINUTES = 10
_ATTEMPTS = 5


class NoLocalToken(NomadError):
    """Raised by every use of the token file if that fails; the message says what to do."""


def read_token(directory: Path) -> str | None:
    """Return the token in `directory`, or None if there is no file."""
    path = directory / TOKEN_FILE
    try:
        token = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise NoLocalToken(f"{path} cannot be read: {error}") from error
    if not may_be_token(token):
        raise NoLocalToken(f"{path} contains no valid token: delete it, and a new one is created")
    return token


def read_or_make_token(directory: Path) -> str:
    """Return the token in `directory`, and create it if it is missing; only one of several processes creates it."""
    # Another process may delete the file after we created it.
    for _ in range(_ATTEMPTS):
        token = read_token(directory)
        if token is not None:
            return token
        _write(directory, replace=False)
    raise NoLocalToken(f"{directory / TOKEN_FILE} can neither be read nor created; if it is a dangling link, delete it")


def replace_token(directory: Path) -> None:
    """Replace the token in `directory`: the old one, its links and its sessions are no longer valid."""
    _write(directory, replace=True)


def entry_of(token: str) -> AdminToken:
    """Return the entry of the local token."""
    return token_entry(NAME, OPERATOR, token)


def new_link(directory: Path, admin_url: str, now_ms: int) -> str:
    """Return a link to the admin at `admin_url` that logs in once, within `LINK_MINUTES`."""
    return f"{admin_url}/admin/login?once={new_code(read_or_make_token(directory), now_ms)}"


def new_code(token: str, now_ms: int) -> str:
    """Return the code of a new one-time link, which is valid for `LINK_MINUTES`."""
    signed = f"{now_ms + LINK_MINUTES * 60_000}.{secrets.token_urlsafe(16)}"
    return f"{signed}.{_signature(token, signed)}"


def link_of(code: str, token: str, now_ms: int) -> str | None:
    """Return the unique id of a link from its code; None if `token` did not sign it or it has expired."""
    signed, _, signature = code[:200].rpartition(".")
    expected = _signature(token, signed)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
        return None
    until, _, link = signed.partition(".")
    return link if now_ms < int(until) else None


def _signature(token: str, signed: str) -> str:
    text = f"nomad admin link {signed}".encode("utf-8", "surrogateescape")
    return hmac.new(token.encode(), text, "sha256").hexdigest()


def _write(directory: Path, *, replace: bool) -> None:
    path = directory / TOKEN_FILE
    write = private_files.write if replace else private_files.write_new
    try:
        private_files.make_directory(directory)
        write(path, f"{new_token()}\n")
    except OSError as error:
        raise NoLocalToken(f"{path} cannot be created ({error}); NOMAD_VAR_DIR sets another directory") from error
