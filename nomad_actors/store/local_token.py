"""The operator's token of a machine where none is configured, and the one-time links that it signs.

The token is made once, in a file that only its owner reads. A link proves that whoever made it could read that file:
it is signed with the token, for a few minutes, and the admin lets each one in once.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from ..errors import NomadError
from ..processes import private_files
from ..settings.admin_tokens import OPERATOR, AdminToken, may_be_token, new_token, token_entry

TOKEN_FILE = "admin-token"
#: The name of its entry, as the audit log shows it.
NAME = "local"
#: How long a link may be used.
LINK_MINUTES = 10
_TRIES = 5


class NoLocalToken(NomadError):
    """Raised when the token's file cannot be used; says what to do."""


def read_token(directory: Path) -> str | None:
    """Return the token in `directory`, None when there is none.

    Raises `NoLocalToken` when the file cannot be read, or holds none.
    """
    path = directory / TOKEN_FILE
    try:
        token = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise NoLocalToken(f"{path} cannot be read: {error}") from error
    if not may_be_token(token):
        raise NoLocalToken(f"{path} holds no token of ours: delete it, and a new one is made")
    return token


def read_or_make_token(directory: Path) -> str:
    """Return the token in `directory`; it is made when there is none, once, whoever else asks at the same time.

    Raises `NoLocalToken`.
    """
    # Another process may delete what this one makes, now and then.
    for _ in range(_TRIES):
        token = read_token(directory)
        if token is not None:
            return token
        _write(directory, replace=False)
    raise NoLocalToken(f"{directory / TOKEN_FILE} can neither be read nor made; if it is a link to nothing, delete it")


def replace_token(directory: Path) -> None:
    """Make a new token in the place of the one in `directory`: that one, its links and sessions count no longer.

    Raises `NoLocalToken`.
    """
    _write(directory, replace=True)


def entry_of(token: str) -> AdminToken:
    """Return the entry of a machine's own token."""
    return token_entry(NAME, OPERATOR, token)


def new_link(directory: Path, admin_url: str, now_ms: int) -> str:
    """Return a link to the admin at `admin_url` that logs in once, within `LINK_MINUTES`.

    Raises `NoLocalToken`.
    """
    return f"{admin_url}/admin/login?once={new_code(read_or_make_token(directory), now_ms)}"


def new_code(token: str, now_ms: int) -> str:
    """Return the code of a new one-time link, which may be used for `LINK_MINUTES`."""
    signed = f"{now_ms + LINK_MINUTES * 60_000}.{secrets.token_urlsafe(16)}"
    return f"{signed}.{_signature(token, signed)}"


def link_of(code: str, token: str, now_ms: int) -> str | None:
    """Return what tells a link from all others, by its code; None if `token` did not sign it or its time is over."""
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
        raise NoLocalToken(f"{path} cannot be made ({error}); NOMAD_VAR_DIR names another directory") from error
