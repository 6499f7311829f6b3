"""Sessions of pages: a cookie of 256 random bits, whose hash stands in the database until the session ends.

Nothing that is configured forges one, and every admin of the database sees at once that one has ended: by a logout, by
time, with its token. While the database is away, a session that this process knew to be good a short while ago may go
on reading; a change could not be audited then, and is refused.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from nomad_actors.errors import NomadError, Unavailable
from nomad_actors.settings.admin_tokens import AdminToken
from nomad_actors.store import AdminSession

from ..parts import application, memory
from .tokens import known_tokens

COOKIE = "nomad_session"
LIFETIME_MS = 12 * 3_600_000
#: How long a session may read while the database is away, since it was last found good.
OUTAGE_MS = 15 * 60_000
#: Of how many sessions a process remembers that.
MOST_REMEMBERED = 1_000

_OURS = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Session:
    """A session that was found good; `secret` is known to its browser alone."""

    token: AdminToken
    secret: str


class NoSession(NomadError):
    """Raised for a cookie of no session, or of one that has ended."""


def begin(token: AdminToken, *, link: str | None = None) -> str:
    """Begin a session for whoever showed `token`, or a one-time `link` that it signed; return the cookie's value.

    Raises `LinkUsed`, `Unavailable`.
    """
    app, secret = application(), secrets.token_urlsafe(32)
    session = AdminSession(
        id_hash=_hash(secret),
        token_name=token.name,
        token_digest=token.digest,
        role=token.role,
        expires_ms=app.clock.now_ms() + LIFETIME_MS,
    )
    app.store.admin_sessions.begin(session, link=link)
    return secret


def find(secret: str) -> Session:
    """Return the session of a cookie.

    Raises `NoSession`, also when its token is gone, has another role or was revoked, and `Unavailable` when nobody can
    tell.
    """
    if not _OURS.fullmatch(secret):
        raise NoSession
    found = _found(_hash(secret))
    token = None if found is None else _token_of(found)
    if token is None:
        raise NoSession
    return Session(token, secret)


def forget(secret: str) -> None:
    """Let this process remember a session no longer."""
    memory().sessions.pop(_hash(secret), None)


def end(secret: str) -> None:
    """End a session, for every admin.

    Raises `Unavailable`.
    """
    forget(secret)
    application().store.admin_sessions.end(_hash(secret))


def _found(id_hash: str) -> AdminSession | None:
    app, known = application(), memory().sessions
    now_ms = app.clock.now_ms()
    try:
        found = app.store.admin_sessions.find(id_hash)
    except Unavailable:
        remembered = known.get(id_hash)
        if remembered is None or not remembered[1] <= now_ms < min(remembered[1] + OUTAGE_MS, remembered[0].expires_ms):
            raise
        return remembered[0]
    known.pop(id_hash, None)
    if found is not None:
        known[id_hash] = found, now_ms
        for oldest in list(known)[:-MOST_REMEMBERED]:
            known.pop(oldest, None)
    return found


def _token_of(session: AdminSession) -> AdminToken | None:
    entry = (session.token_name, session.role, session.token_digest)
    return next((token for token in known_tokens() if (token.name, token.role, token.digest) == entry), None)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
