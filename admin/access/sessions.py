"""Sessions of the web pages: a cookie of 256 random bits, whose hash is in the database until the session ends.

A session cannot be forged from the configuration. It ends by logout, by time, or with its token, and every admin on
the same database sees that at once. While the database is unavailable, a session that this process recently found
valid may still read; changes are refused, since they could not be audited.
"""

from __future__ import annotations

from dataclasses import dataclass

from nomad_actors.errors import Unavailable
from nomad_actors.settings.admin_tokens import AdminToken, digest_of, may_be_token, new_token
from nomad_actors.store import AdminSession

from ..current_app import application, memory
from .tokens import known_tokens

COOKIE = "nomad_session"
LIFETIME_MS = 12 * 3_600_000
#: While the database is unavailable, a session may read for this long after it was last found valid.
OUTAGE_MS = 15 * 60_000
#: The most sessions that a process remembers for that.
MAX_REMEMBERED = 1_000


@dataclass(frozen=True)
class Session:
    """A valid session; only its browser knows `secret`."""

    token: AdminToken
    secret: str


def begin(token: AdminToken, *, link: str | None = None) -> str:
    """Begin a session for a valid `token`, or for a one-time `link` signed with it; return the cookie's value.

    Raises `LinkUsed`, `Unavailable`.
    """
    app, secret = application(), new_token()
    session = AdminSession(
        id_hash=digest_of(secret),
        token_name=token.name,
        token_digest=token.digest,
        role=token.role,
        expires_ms=app.clock.now_ms() + LIFETIME_MS,
    )
    app.store.admin_sessions.begin(session, link=link)
    return secret


def find(secret: str) -> Session | None:
    """Return the session of a cookie; None if it has ended, or its token was removed, revoked or has another role.

    Raises `Unavailable` if the session cannot be checked.
    """
    stored = _look_up(digest_of(secret)) if may_be_token(secret) else None
    if stored is None:
        return None
    entry = AdminToken(stored.token_name, stored.role, stored.token_digest)
    return Session(entry, secret) if entry in known_tokens() else None


def forget(secret: str) -> None:
    """Remove a session from this process's memory."""
    memory().sessions.pop(digest_of(secret), None)


def end(secret: str) -> None:
    """End a session in every admin."""
    forget(secret)
    application().store.admin_sessions.end(digest_of(secret))


def _look_up(id_hash: str) -> AdminSession | None:
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
        for oldest in list(known)[:-MAX_REMEMBERED]:
            known.pop(oldest, None)
    return found
