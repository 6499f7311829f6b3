"""Runs the checks over all characters, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from ..database import Database
from ..history.balances import Entry
from ..history.completeness import DATA_TYPE_BY_ROUTE, DATA_TYPES, Completeness, completeness
from ..schema import (
    sync_state,
    wallet_journal,
    wallet_transactions,
)
from . import claims, links, states
from .chain import broken_balances
from .characters import Checked, find_characters
from .pages import pages
from .problem import Problem
from .remedies import Scopes, to_restore

_COMPARED = {each.data_type: each for each in (states.ORDERS, states.INDUSTRY_JOBS, states.SKILLS)}
#: The tables whose rows the checks read one after another; one query checks all transactions of a character.
_READ = {
    "wallet_journal": wallet_journal,
    "wallet_transactions": wallet_transactions,
    **{each.data_type: each.key.table for each in _COMPARED.values()},
}


class Verifier:
    """The checks of the history of some characters, and how many rows they read.

    Raises `UnknownCharacter`, `Unavailable`.

    Parameters:
      character_ids: the characters (none: all, also archives of sold ones).
      data_types: the data types (none: all).
      scopes: by data type those that a login needs, so that remedies name what is missing (none: not checked).
      on_rows: called with the number of rows that were checked since its last call.
    """

    def __init__(
        self,
        database: Database,
        now_ms: int,
        *,
        character_ids: Sequence[int] = (),
        data_types: Sequence[str] = (),
        scopes: Scopes = MappingProxyType({}),
        on_rows: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._database, self._now_ms, self._on_rows = database, now_ms, on_rows
        self._scopes = scopes
        self.data_types = tuple(data_types) or DATA_TYPES
        self.characters = find_characters(database, character_ids)

    def count(self) -> int:
        """Return the number of rows that the checks will read."""
        ids = [each.character_id for each in self.characters]
        tables = [_READ[each] for each in self.data_types]
        with self._database.read() as connection:
            return sum(
                connection.execute(_count(table, ids[start : start + 500])).scalar_one()
                for table in tables
                for start in range(0, len(ids), 500)
            )

    def problems(self) -> Iterator[Problem]:
        """Yield every problem, character by character."""
        for character in self.characters:
            with self._database.read() as connection:
                covered = completeness(connection, character.character_id, self._now_ms)
            for data_type in self.data_types:
                yield from self._claims(character, covered[data_type])
                yield from self._rows(character, data_type, covered)

    def _claims(self, character: Checked, covered: Completeness) -> Iterator[Problem]:
        columns = sync_state.c.route, sync_state.c.set_aside, sync_state.c.as_of_ms
        with self._database.read() as connection:
            routes = connection.execute(
                sa.select(*columns).where(
                    sync_state.c.character_id == character.character_id,
                    sync_state.c.route.in_(_routes_of(covered.data_type)),
                )
            ).all()
        newest_ms = max((row.as_of_ms for row in routes if row.as_of_ms is not None), default=None)
        yield from claims.marked_holes(covered, character, self._scopes)
        yield from claims.wrong_claims(covered, character, self._scopes, self._now_ms, newest_ms)
        yield from claims.set_aside(covered, [(row.route, row.set_aside) for row in routes if row.set_aside])

    def _rows(self, character: Checked, data_type: str, covered: Mapping[str, Completeness]) -> Iterator[Problem]:
        character_id = character.character_id
        restore = partial(to_restore, character, now_ms=self._now_ms, scopes=self._scopes)
        if data_type == "wallet_journal":
            journal, key = covered[data_type], wallet_transactions.c.transaction_id
            yield from broken_balances(self._entries(character_id), journal)
            found = self._links(links.transactions_without_entry(character_id), key)
            yield from links.missing_entries(found, journal, restore)
        elif data_type == "wallet_transactions":
            found = self._links(links.entries_without_transaction(character_id), wallet_journal.c.id)
            yield from links.missing_transactions(found, covered[data_type], restore)
            with self._database.read() as connection:
                self._on_rows(connection.execute(_count(wallet_transactions, [character_id])).scalar_one())
        else:
            compared = _COMPARED[data_type]
            seen = (states.Seen._make(row) for row in self._read(compared.query(character_id), compared.key))
            yield from states.contradictions(seen, compared, character_id)

    def _entries(self, character_id: int) -> Iterator[Entry]:
        columns = [wallet_journal.c[name] for name in Entry._fields]
        query = sa.select(*columns).where(wallet_journal.c.character_id == character_id)
        return map(Entry._make, self._read(query, wallet_journal.c.date_ms, wallet_journal.c.id))

    def _links(self, query: sa.Select[Any], key: sa.Column[int]) -> Iterator[links.Link]:
        return (links.Link._make(row) for page in pages(self._database, query, key) for row in page)

    def _read(self, query: sa.Select[Any], *keys: sa.Column[int]) -> Iterator[sa.Row[Any]]:
        for page in pages(self._database, query, *keys):
            yield from page
            self._on_rows(len(page))


def _count(table: sa.Table, character_ids: Sequence[int]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table).where(table.c.character_id.in_(character_ids))


def _routes_of(data_type: str) -> list[str]:
    return [route for route, each in DATA_TYPE_BY_ROUTE.items() if each == data_type]
