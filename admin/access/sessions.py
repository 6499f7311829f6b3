"""Sessions of pages: a signed cookie that says which token was shown, and for how long that counts.

Each token's sessions are signed with a key of their own, derived from the token's entry: every admin with the same
entries accepts them, and they end with the entry, or with any change of it. Nothing is stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nomad_actors.admin_tokens import AdminToken

COOKIE = "nomad_session"
LIFETIME_MS = 12 * 3_600_000
#: Several admins accept each other's sessions, and their clocks differ.
CLOCK_SKEW_MS = 60_000
#: No cookie of ours is longer.
_MAX_LENGTH = 1000


@dataclass(frozen=True)
class Session:
    """A session whose signature and age were found good; `seed` is known to it and us alone."""

    token: AdminToken
    seed: str


class Forged(Exception):
    """Raised for a cookie that we did not sign with a key of now; an expired one is none."""


def new_session(token: AdminToken, now_ms: int) -> str:
    """Return a cookie's value for whoever showed `token`."""
    told = {"name": token.name, "entry": _entry_digest(token), "at": now_ms, "seed": secrets.token_urlsafe(16)}
    body = _text(json.dumps(told).encode())
    return f"{body}.{_text(_signature(token, body))}"


def read_session(cookie: str, tokens: Iterable[AdminToken], now_ms: int) -> Session | None:
    """Return the session of a cookie, None when it has expired.

    Raises `Forged`, also when its token's entry is gone or changed.
    """
    body, _, signature = cookie.partition(".")
    try:
        told = json.loads(_bytes(body))
        given = _bytes(signature)
        name, at_ms, seed = str(told["name"]), int(told["at"]), str(told["seed"])
        entry = str(told["entry"]).encode()
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise Forged from error
    token = next((each for each in tokens if each.name == name), None)
    if token is None or not hmac.compare_digest(_entry_digest(token).encode(), entry):
        # Signed with a key that is gone, or by nobody: nobody can tell.
        raise Forged
    if not hmac.compare_digest(_signature(token, body), given):
        raise Forged
    return Session(token, seed) if -CLOCK_SKEW_MS <= now_ms - at_ms < LIFETIME_MS else None


def _signature(token: AdminToken, body: str) -> bytes:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nomad admin session").derive(token.entry.encode())
    return hmac.digest(key, body.encode(), "sha256")


def _entry_digest(token: AdminToken) -> str:
    return hashlib.sha256(b"nomad admin entry " + token.entry.encode()).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    if len(text) > _MAX_LENGTH:
        raise ValueError("longer than any of ours")
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
