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
#: Reads the collected data and nothing else.
READER = "reader"
ROLES = (VIEWER, OPERATOR, READER)

ALLOWED = (
    "comma-separated name:role:sha256 entries, role viewer, operator or reader, each name once; a reader's may end in "
    ":7+8, the ids of its users; make one with `nomad token NAME --role viewer|operator|reader`"
)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NAMES = "up to 40 letters, digits, '.', '_', '-'"
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: More than a BIGINT has no user's id.
_USER = re.compile(r"[0-9]{1,18}")
MAX_USERS = 1_000


@dataclass(frozen=True)
class AdminToken:
    """One entry: the name and role of the token with this SHA-256.

    A reader's with `users` sees only the data of these users' characters, without them everybody's.
    """

    name: str
    role: str
    digest: str
    users: tuple[int, ...] = ()

    @property
    def entry(self) -> str:
        """The entry as written in the setting."""
        users = f":{'+'.join(map(str, self.users))}" if self.users else ""
        return f"{self.name}:{self.role}:{self.digest}{users}"


def new_token() -> str:
    """Return a new random token of 256 bits."""
    return secrets.token_urlsafe(32)


def may_be_token(text: str) -> bool:
    """Return whether a text has the form of the tokens of `new_token`."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """Return a token's SHA-256 in hex; a slow hash would add nothing to 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def token_entry(name: str, role: str, token: str, users: Iterable[int] = ()) -> AdminToken:
    """Return the entry of a token; raises `WrongValue` for an invalid name or role, and for users of another role."""
    if not _NAME.fullmatch(name):
        raise WrongValue(f"{name!r:.80} is not a valid name (allowed: {_NAMES})")
    return _entry(AdminToken(name, role, digest_of(token), tuple(users)).entry, "the entry")


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
    if len(parts) not in (3, 4):
        raise WrongValue(f"{which} does not have three parts, or four with users; never put a token itself here")
    name, role, digest, *users = parts
    if not _NAME.fullmatch(name):
        raise WrongValue(f"{which} has no valid name (allowed: {_NAMES})")
    if role not in ROLES:
        raise WrongValue(f"{which} has an unknown role")
    if not _DIGEST.fullmatch(digest):
        raise WrongValue(f"{which} has no SHA-256 in lower-case hex; never put a token itself here")
    return AdminToken(name, role, digest, _users(users[0], role, which) if users else ())


def _users(text: str, role: str, which: str) -> tuple[int, ...]:
    if role != READER:
        raise WrongValue(f"{which} has users; only a {READER}'s may, because other roles also see everybody's jobs")
    words = text.split("+")
    if len(words) > MAX_USERS or not all(map(_USER.fullmatch, words)):
        raise WrongValue(f"{which} has no valid users (allowed: up to {MAX_USERS} ids joined with +, such as 7+8)")
    return tuple(sorted(set(map(int, words))))
