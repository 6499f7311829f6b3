"""The database as the other parts see it."""

from __future__ import annotations

import sqlalchemy as sa

from ..clock import Clock
from . import schema
from .audit import Audit
from .cipher import TokenCipher
from .database import Database
from .documents import Documents
from .logins import Logins
from .sessions import AdminSessions


class Store:
    """Characters, logins, documents and history in one database; nothing connects before the first use.

    Safe to share between threads. Raises `SettingsError` for a URL that names no usable database.
    """

    def __init__(
        self, database_url: str, *, cipher: TokenCipher | None, clock: Clock, database_wait_ms: int | None = None
    ) -> None:
        self.database = Database(database_url, wait_ms=database_wait_ms)
        self.logins = Logins(self.database, cipher=cipher, clock=clock)
        self.documents = Documents(self.database, clock=clock)
        self.audit = Audit(self.database, clock=clock)
        self.admin_sessions = AdminSessions(self.database, clock=clock)

    def migrate(self) -> None:
        """Create the schema or bring it up to date; the first use does so too.

        Raises `Unavailable`, `SchemaTooNew`.
        """
        self.database.migrate()

    def ping(self) -> None:
        """Ask the database for an answer, in the schema that this process works with.

        Raises `Unavailable` when it gives none, `SchemaTooNew` when another release has migrated it.
        """
        with self.database.read() as connection:
            # A table that there always is: an answer without one would not tell of a file that is damaged.
            connection.execute(sa.select(schema.characters.c.character_id).limit(1))
            self.database.check_revision(connection)

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()
