"""The admin's sessions and revoked tokens: in the database, so that an end takes effect in every admin immediately."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..clock import Clock
from ..errors import NomadError, Unavailable
from .database import Database
from .invalid_rows import fits
from .schema import admin_revoked_tokens, admin_sessions

#: How often the use of a session is saved.
SEEN_MS = 60_000
#: Retention of expired sessions, and thereby of used one-time links.
KEEP_MS = 7 * 86_400_000
#: Most old sessions that a new one removes: more than it adds, but still a short transaction.
STEP_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class AdminSession:
    """An active session; `id_hash` is the SHA-256 of the cookie's value."""

    id_hash: str
    token_name: str
    token_digest: str
    role: str
    expires_ms: int


class LinkUsed(NomadError):
    """Raised if a one-time link has already been used."""


class AdminSessions:
    """The sessions and revoked tokens in `database`; every method raises `Unavailable`."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, session: AdminSession, *, link: str | None = None) -> None:
        """Save a new session; raises `LinkUsed` if `link`, the one-time link that started it, has been used."""
        now_ms, row = self._clock.now_ms(), admin_sessions.c
        old = sa.select(row.id_hash).where(row.expires_ms < now_ms - KEEP_MS).limit(STEP_ROWS)
        values = {**vars(session), "link": link, "created_ms": now_ms, "seen_ms": now_ms}
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(admin_sessions).values(values))
                connection.execute(sa.delete(admin_sessions).where(row.id_hash.in_(old)))
        except IntegrityError as error:
            if link is None:
                raise
            raise LinkUsed("the link has already been used") from error

    def find(self, id_hash: str) -> AdminSession | None:
        """Return an active session and save its use; None if it has expired, was ended, or its token was revoked."""
        now_ms, row = self._clock.now_ms(), admin_sessions.c
        columns = [row[name] for name in AdminSession.__dataclass_fields__]
        is_revoked = sa.exists().where(admin_revoked_tokens.c.digest == row.token_digest)
        is_live = (
            row.id_hash == id_hash,
            row.ended_ms.is_(None),
            row.expires_ms > now_ms,
            ~is_revoked,
            fits(self._database, admin_sessions),
        )
        with self._database.read() as connection:
            found = connection.execute(sa.select(*columns, row.seen_ms).where(*is_live)).one_or_none()
        if found is None:
            return None
        values = dict(found._mapping)
        if now_ms - values.pop("seen_ms") >= SEEN_MS:
            # A busy database must not lock users out.
            with contextlib.suppress(Unavailable), self._database.write() as connection:
                connection.execute(sa.update(admin_sessions).where(row.id_hash == id_hash).values(seen_ms=now_ms))
        return AdminSession(**values)

    def end(self, id_hash: str) -> None:
        """End a session for every admin."""
        row = admin_sessions.c
        with self._database.write() as connection:
            ended = sa.update(admin_sessions).where(row.id_hash == id_hash, row.ended_ms.is_(None))
            connection.execute(ended.values(ended_ms=self._clock.now_ms()))

    def revoke(self, digest: str, name: str, by: str) -> bool:
        """Revoke a token, by its SHA-256, in every admin; return False if it was already revoked."""
        values = {"digest": digest, "name": name, "revoked_ms": self._clock.now_ms(), "by": by[:120]}
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(admin_revoked_tokens).values(values))
        except IntegrityError:
            # Someone else may have revoked it at the same time.
            return False
        return True

    def is_revoked(self, digest: str) -> bool:
        """Return whether a token, given by its SHA-256, was revoked."""
        row = admin_revoked_tokens.c
        with self._database.read() as connection:
            return connection.scalar(sa.select(row.digest).where(row.digest == digest)) is not None
