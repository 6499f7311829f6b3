"""Conversion of ESI's rows to our columns: required, optional and unknown fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ...errors import NomadError
from ..isk import Isk, to_isk


class UnexpectedRow(NomadError):
    """Raised for a row that `esi.sifting` should have set aside; nothing of its response is saved."""


@dataclass(frozen=True)
class Snapshot:
    """ESI's data for one route of one character at one time: its rows or object, checked by `esi.sifting`.

    `set_aside` are its rows that could not be stored: nothing is concluded from what the others lack. `read_ms` is when
    it was read, which is later than its time if ESI or its cache was slow; `made_ms` is when ESI made it, by ESI's
    own clock. If it is not `is_newest`, a newer one is stored, which it does not correct.
    """

    character_id: int
    route: str
    body: Any
    as_of_ms: int
    request_id: str | None = None
    set_aside: Sequence[Any] = ()
    read_ms: int | None = None
    made_ms: int | None = None
    is_newest: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether the body contains every row."""
        return not self.set_aside

    @property
    def read_at_ms(self) -> int:
        """When it was read."""
        return self.as_of_ms if self.read_ms is None else self.read_ms

    @property
    def shown_at_ms(self) -> int:
        """When ESI showed it: our clock is slow if ESI made it later than we have read it."""
        return max(self.read_at_ms, self.made_ms or 0)

    def is_older_than(self, stored_ms: int) -> bool:
        """Return whether what is stored of `stored_ms` is newer; a clock that was ahead has stored what is later still.

        Without that, nothing would be believed until its time has come.
        """
        return self.as_of_ms < stored_ms <= self.read_at_ms

    def event(self, *, at_ms: int | None = None, inferred: bool = False) -> dict[str, Any]:
        """Return the columns that all events have: of what and when, observed or inferred, from which response."""
        return {
            "character_id": self.character_id,
            "at_ms": self.as_of_ms if at_ms is None else at_ms,
            "inferred": inferred,
            "route": self.route,
            "request_id": self.request_id,
        }


@dataclass(frozen=True)
class Changes:
    """The effect of a response on the history: its rows, new rows, changed rows, events.

    `set_aside` rows could not be stored, `repaired` ones only with U+FFFD for some characters.
    """

    seen: int = 0
    new: int = 0
    changed: int = 0
    events: int = 0
    set_aside: int = 0
    repaired: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.seen + other.seen,
            self.new + other.new,
            self.changed + other.changed,
            self.events + other.events,
            self.set_aside + other.set_aside,
            self.repaired + other.repaired,
        )


_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class RowKind:
    """How rows of one table are read: ESI's fields have the names of our columns, or the names in `dates`.

    `dates` maps ESI's times to our columns in milliseconds; `computed` are columns that callers fill. A field is
    optional if its column may be NULL, or if it is one of `optional`; `ignored` fields are not saved.
    """

    def __init__(
        self,
        table: sa.Table,
        *,
        dates: Mapping[str, str],
        computed: Sequence[str] = (),
        optional: Sequence[str] = (),
        ignored: Sequence[str] = (),
    ) -> None:
        names = {column: name for name, column in dates.items()}
        columns = [each for each in table.c if each.name not in {"character_id", "extra", *computed}]
        self._name = table.name
        self._fields = [
            (
                names.get(each.name, each.name),
                each.name,
                _conversion(each),
                not each.nullable and each.name not in optional,
            )
            for each in columns
        ]
        self._isk = tuple(each.name for each in columns if isinstance(each.type, Isk))
        self._known = frozenset({name for name, *_ in self._fields}.union(ignored))

    def read(self, character_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of `row`.

        Raises `UnexpectedRow` with the missing or invalid field.
        """
        columns: dict[str, Any] = {"character_id": character_id}
        try:
            for name, column, convert, is_required in self._fields:
                value = row[name] if is_required else row.get(name)
                columns[column] = value if convert is None or value is None else convert(value)
        except KeyError as error:
            raise UnexpectedRow(f"a row of {self._name} has no {error}") from error
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise UnexpectedRow(f"a row of {self._name} is unreadable: {error}") from error
        extra = {name: value for name, value in row.items() if name not in self._known}
        # What rounding changed is still known exactly.
        extra |= {name: row[name] for name in self._isk if row.get(name) != columns[name]}
        columns["extra"] = extra or None
        return columns


def _conversion(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, Isk):
        return to_isk
    if isinstance(column.type, sa.Double):
        return float
    return to_ms if column.name.endswith("_ms") else None


def to_ms(text: str) -> int:
    """Return ESI's time (RFC 3339, UTC) in milliseconds."""
    time = datetime.fromisoformat(text)
    return ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def stored_by_key(connection: Connection, table: sa.Table, key: str, character_id: int) -> dict[int, Row[Any]]:
    """Return a character's rows of `table`, by their natural key."""
    found = connection.execute(sa.select(table).where(table.c.character_id == character_id))
    return {row._mapping[key]: row for row in found}
