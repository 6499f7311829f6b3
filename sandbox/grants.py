"""Logins: authorization codes, refresh tokens that rotate at every use, and their revocation.

From CCP's SSO documentation and observed behaviour: a code is valid for 5 minutes and once; a refresh token may be
replaced at every refresh (here it always is); a new login of a character with other scopes revokes its earlier one; so
do a revocation by the user and the sale of the character, which changes its owner hash.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from dataclasses import dataclass, replace

from .clock import SandboxClock
from .fault_kinds import DEAD_LOGINS
from .routes import SCOPES
from .world.characters import Character, World, owner_hash

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"
CODE_LIFETIME_S = 300
_UNKNOWN = "dead-token"


class DeadGrant(Exception):
    """Raised if a code or a refresh token is invalid; the message is the SSO's `error_description`."""

    def __init__(self, description: str, error: str = "invalid_grant") -> None:
        super().__init__(description)
        self.error = error


class NotGranted(Exception):
    """Raised if a refresh requests scopes that the login does not have."""


@dataclass(frozen=True)
class Grant:
    """One login of one character: its scopes and its currently valid refresh token."""

    character: Character
    scopes: tuple[str, ...]
    refresh_token: str


@dataclass(frozen=True)
class Code:
    """An authorization code that has not been redeemed yet."""

    character: Character
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    expires_s: float


class Grants:
    """All logins; initially one per character, with all scopes."""

    def __init__(self, world: World, clock: SandboxClock) -> None:
        self._world = world
        self._clock = clock
        self._lock = threading.Lock()
        self._by_token: dict[str, Grant] = {}
        self._codes: dict[str, Code] = {}
        self._sales: dict[int, int] = {}
        # Every refresh token that was ever valid: its character, and the text for it once it is dead.
        self._characters: dict[str, int] = {}
        self._ends: dict[str, tuple[str, str]] = {}
        self._rotated: set[str] = set()
        for character in world.characters:
            self._add(character, SCOPES, self._first_token(character))

    def latest(self) -> dict[int, Grant]:
        """Return the latest valid login of each character that has one, by character id."""
        with self._lock:
            return {grant.character.character_id: grant for grant in self._by_token.values()}

    def owner(self, character: Character) -> str:
        """Return the hash of the account that owns the character now."""
        return owner_hash(self._world.seed, character.character_id, self._sales.get(character.character_id, 0))

    def character_of(self, refresh_token: str) -> int | None:
        """Return the character of a refresh token, also of a dead one; None if it never was valid."""
        with self._lock:
            return self._characters.get(refresh_token)

    def refresh_tokens(self) -> list[str]:
        """Return every refresh token that was ever valid."""
        with self._lock:
            return list(self._characters)

    def was_rotated(self, refresh_token: str) -> bool:
        """Return whether a refresh token has been used and replaced."""
        with self._lock:
            return refresh_token in self._rotated

    def begin(self, character: Character, scopes: tuple[str, ...], redirect_uri: str, challenge: str | None) -> str:
        """Return a code for a login that the player has confirmed."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[code] = Code(character, scopes, redirect_uri, challenge, self._clock.now() + CODE_LIFETIME_S)
        return code

    def redeem(self, code: str, verifier: str | None) -> Grant:
        """Turn a code into a login.

        Raises `DeadGrant` if the code is unknown, used, older than five minutes, or does not match the verifier.
        """
        with self._lock:
            login = self._codes.pop(code, None)
            if login is None or login.expires_s <= self._clock.now():
                raise DeadGrant("Authorization code not found.")
            if login.challenge is not None and login.challenge != _challenge(verifier or ""):
                raise DeadGrant("The code verifier does not match the code challenge.")
            self._kill(login.character, but=login.scopes)
            return self._add(login.character, login.scopes, secrets.token_urlsafe(24))

    def refresh(self, refresh_token: str, scopes: tuple[str, ...]) -> Grant:
        """Replace a refresh token; with `scopes`, the returned grant is limited to them.

        Raises `DeadGrant` for a used or unknown token, `NotGranted` for scopes that the login does not have.
        """
        with self._lock:
            grant = self._by_token.get(refresh_token)
            if grant is None:
                error, description = self._ends.get(refresh_token, DEAD_LOGINS[_UNKNOWN])
                raise DeadGrant(description, error)
            if not set(scopes) <= set(grant.scopes):
                raise NotGranted("The requested scope is invalid, unknown, or malformed.")
            del self._by_token[refresh_token]
            self._rotated.add(refresh_token)
            renewed = self._add(grant.character, grant.scopes, secrets.token_urlsafe(24))
        return replace(renewed, scopes=scopes or grant.scopes)

    def revoke(self, refresh_token: str) -> None:
        """Revoke one login; an unknown token is not an error, as with the real SSO."""
        with self._lock:
            self._by_token.pop(refresh_token, None)

    def kill(self, character: Character, *, kind: str = _UNKNOWN) -> None:
        """Revoke all logins of a character, as a password change does; `kind` is a name of `DEAD_LOGINS`."""
        with self._lock:
            self._kill(character, kind=kind)

    def sell(self, character: Character, *, kills: bool = True) -> None:
        """Move a character to another account: its owner hash changes, and all its logins are revoked.

        Without `kills` they still work, and only the `owner` claim shows the sale.
        """
        with self._lock:
            self._sales[character.character_id] = self._sales.get(character.character_id, 0) + 1
            if kills:
                self._kill(character)

    def _add(self, character: Character, scopes: tuple[str, ...], refresh_token: str) -> Grant:
        self._by_token[refresh_token] = Grant(character, scopes, refresh_token)
        self._characters[refresh_token] = character.character_id
        return self._by_token[refresh_token]

    def _kill(self, character: Character, *, but: tuple[str, ...] | None = None, kind: str = _UNKNOWN) -> None:
        for token, grant in list(self._by_token.items()):
            if grant.character == character and (but is None or set(grant.scopes) != set(but)):
                del self._by_token[token]
                self._ends[token] = DEAD_LOGINS[kind]

    def _first_token(self, character: Character) -> str:
        digest = hashlib.sha256(f"{self._world.seed}:login:{character.character_id}".encode()).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
