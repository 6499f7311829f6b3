"""The database's public interface."""

from __future__ import annotations

import sqlalchemy as sa

from ..clock import Clock
from . import schema
from .audit import Audit
from .cipher import TokenCipher
from .database import Database
from .documents import Documents
from .listing_pages import ListingPages
from .logins import Logins
from .sessions import AdminSessions


class Store:
    """Characters, logins, documents and history in one database; it connects on first use.

    Thread-safe. `migrates` is that of `Database`. Raises `SettingsError` for an invalid URL.
    """

    def __init__(
        self,
        database_url: str,
        *,
        cipher: TokenCipher | None,
        clock: Clock,
        database_wait_ms: int | None = None,
        migrates: bool = True,
    ) -> None:
        self.database = Database(database_url, wait_ms=database_wait_ms, migrates=migrates)
        self.logins = Logins(self.database, cipher=cipher, clock=clock)
        self.documents = Documents(self.database, clock=clock)
        self.listing_pages = ListingPages(self.database, clock=clock)
        self.audit = Audit(self.database, clock=clock)
        self.admin_sessions = AdminSessions(self.database, clock=clock)

    def migrate(self) -> None:
        """Create or migrate the schema; the first use does so too. Raises `Unavailable`, `Unusable`."""
        self.database.migrate()

    def ping(self) -> None:
        """Check that the database answers and still has this process's schema.

        Raises `Unavailable` if it does not answer, `Unusable` if another release has migrated it.
        """
        with self.database.read() as connection:
            # Read a table that always exists: a query without a table would not detect a damaged file.
            connection.execute(sa.select(schema.characters.c.character_id).limit(1))
            self.database.check_revision(connection)

    def close(self) -> None:
        """Close the connections to the database."""
        self.database.close()
