"""Conversion of ESI's rows to our columns: required, optional and unknown fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ...errors import NomadError


class UnexpectedRow(NomadError):
    """Raised if a row from ESI lacks a documented field; nothing of its response is saved."""


@dataclass(frozen=True)
class Window:
    """The time range whose rows are saved (ms, both ends inclusive; None means no limit)."""

    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no row is left out."""
        return self.from_ms is None and self.to_ms is None

    def contains(self, at_ms: int) -> bool:
        """Return whether a row of this time is saved."""
        after_start = self.from_ms is None or at_ms >= self.from_ms
        return after_start and (self.to_ms is None or at_ms <= self.to_ms)


EVERYTHING = Window()


@dataclass(frozen=True)
class Changes:
    """The effect of a response on the history: its rows in the window, new rows, changed rows, events."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    events: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.seen + other.seen,
            self.new + other.new,
            self.changed + other.changed,
            self.events + other.events,
        )


@dataclass(frozen=True)
class RowKind:
    """How rows of one kind are read: ESI's field names, and our columns if they differ."""

    name: str
    required: Sequence[str]
    optional: Sequence[str] = ()
    #: ESI's date fields and our columns for them, in milliseconds.
    dates: Mapping[str, str] = field(default_factory=dict)
    optional_dates: Mapping[str, str] = field(default_factory=dict)
    #: Fields that are read elsewhere or not saved.
    ignored: Sequence[str] = ()

    def read(self, character_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of `row`.

        Raises `UnexpectedRow` with the missing or invalid field.
        """
        try:
            columns: dict[str, Any] = {"character_id": character_id}
            columns.update((name, row[name]) for name in self.required)
            columns.update((column, to_ms(row[name])) for name, column in self.dates.items())
            columns.update((name, row.get(name)) for name in self.optional)
            columns.update(
                (column, to_ms(row[name]) if row.get(name) else None) for name, column in self.optional_dates.items()
            )
        except KeyError as error:
            raise UnexpectedRow(f"a row of {self.name} has no {error} (it has: {', '.join(map(str, row))})") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise UnexpectedRow(f"a row of {self.name} is unreadable: {error}") from error
        columns["extra"] = {name: value for name, value in row.items() if name not in self._known} or None
        return columns

    @property
    def _known(self) -> set[str]:
        return {*self.required, *self.optional, *self.dates, *self.optional_dates, *self.ignored}


def to_ms(text: str) -> int:
    """Return ESI's time (RFC 3339, UTC) in milliseconds."""
    time = datetime.fromisoformat(text)
    return int(time.replace(tzinfo=time.tzinfo or UTC).timestamp() * 1000)


def stored_by_key(connection: Connection, table: sa.Table, key: str, character_id: int) -> dict[int, Row[Any]]:
    """Return a character's rows of `table`, by their natural key."""
    found = connection.execute(sa.select(table).where(table.c.character_id == character_id))
    return {row._mapping[key]: row for row in found}


def known_keys(
    connection: Connection, table: sa.Table, key: str, character_id: int, rows: Sequence[Mapping[str, Any]]
) -> set[int]:
    """Return which of the rows' natural keys a character already has."""
    if not rows:
        return set()
    keys = [row[key] for row in rows]
    return set(
        connection.execute(
            sa.select(table.c[key]).where(
                table.c.character_id == character_id, table.c[key].between(min(keys), max(keys))
            )
        ).scalars()
    )
