"""The admin's tokens. The setting contains names, roles and hashes; a token is shown once and never stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SettingsError, WrongValue
from .addresses import is_loopback_host

if TYPE_CHECKING:
    from .settings import Settings

VIEWER = "viewer"
OPERATOR = "operator"
ROLES = (VIEWER, OPERATOR)

ALLOWED = (
    "comma-separated name:role:sha256 entries, role viewer or operator, each name once; "
    "make one with `nomad token NAME --role viewer|operator`"
)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NAMES = "up to 40 letters, digits, '.', '_', '-'"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class AdminToken:
    """One entry: the name and role of the token with this SHA-256."""

    name: str
    role: str
    digest: str

    @property
    def entry(self) -> str:
        """The entry as written in the setting."""
        return f"{self.name}:{self.role}:{self.digest}"


def new_token() -> str:
    """Return a new random token of 256 bits."""
    return secrets.token_urlsafe(32)


def may_be_token(text: str) -> bool:
    """Return whether a text has the form of the tokens of `new_token`."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """Return a token's SHA-256 in hex; a slow hash would add nothing to 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def token_entry(name: str, role: str, token: str) -> AdminToken:
    """Return the entry of a token; raises `WrongValue` for an invalid name or role."""
    if not _NAME.fullmatch(name):
        raise WrongValue(f"{name!r:.80} is not a valid name (allowed: {_NAMES})")
    return _entry(f"{name}:{role}:{digest_of(token)}", "the entry")


def parse_tokens(text: str) -> tuple[AdminToken, ...]:
    """Return the entries of NOMAD_ADMIN_TOKENS; raises `WrongValue`."""
    found: dict[str, AdminToken] = {}
    for number, word in enumerate(text.split(","), 1):
        token = _entry(word.strip(), f"entry {number}")
        if token.name in found:
            raise WrongValue(f"entry {number} has the same name as an earlier one")
        found[token.name] = token
    return tuple(found.values())


def find_token(tokens: Iterable[AdminToken], presented: str) -> AdminToken | None:
    """Return the entry of a presented token, or None; takes the same time for every token."""
    digest = digest_of(presented)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def require_tokens_beyond_loopback(settings: Settings) -> None:
    """Raise `SettingsError` if other machines can reach an admin with only the local token, which is for this one."""
    if not settings.admin_tokens and not is_loopback_host(settings.admin_host):
        problem = (
            f"ADMIN_HOST is {settings.admin_host!r} and NOMAD_ADMIN_TOKENS is not set; allowed: 127.0.0.1, ::1 or "
            "localhost, or any address with tokens (`nomad token NAME --role operator` makes one)"
        )
        raise SettingsError([problem])


def _entry(text: str, which: str) -> AdminToken:
    parts = text.split(":")
    if len(parts) != 3:
        raise WrongValue(f"{which} does not have three parts; never put a token itself here")
    name, role, digest = parts
    if not _NAME.fullmatch(name):
        raise WrongValue(f"{which} has no valid name (allowed: {_NAMES})")
    if role not in ROLES:
        raise WrongValue(f"{which} has an unknown role")
    if not _DIGEST.fullmatch(digest):
        raise WrongValue(f"{which} has no SHA-256 in lower-case hex; never put a token itself here")
    return AdminToken(name, role, digest)
