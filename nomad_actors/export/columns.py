"""The columns of exported rows: the fields of `nomad_actors.data`, then what its rows compute from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

#: For pages; an export has all rows.
_LEFT_OUT = {"cursor"}
_PLAIN = (bool, int, float, str, datetime, Decimal)

Convert = Callable[[Any], Any]


class Columns:
    """The names and types of the columns of rows of one type; the type `dict` is for objects and lists."""

    def __init__(self, row: type[Any]) -> None:
        hints = get_type_hints(row)
        self.types = {name: _type(hints[name]) for name in row._fields}
        self._computed = _properties(row)
        self.types |= {name: _type(hint) for name, hint in self._computed.items()}
        self.names = tuple(self.types)

    def converted(self, row: Any, converters: list[Convert | None]) -> list[Any]:
        """Return a row's values, each converted unless it is missing."""
        values = (*row, *(getattr(row, name) for name in self._computed)) if self._computed else row
        return [
            value if convert is None or value is None else convert(value)
            for convert, value in zip(converters, values, strict=True)
        ]

    def converters(self, by_type: Mapping[type[Any], Convert]) -> list[Convert | None]:
        """Return what converts each column; None for a type that needs nothing."""
        return [by_type.get(each) for each in self.types.values()]


def _properties(row: type[Any]) -> dict[str, Any]:
    found = inspect.getmembers(row, lambda member: isinstance(member, property))
    return {name: get_type_hints(each.fget)["return"] for name, each in found if name not in _LEFT_OUT}


def _type(hint: Any) -> type[Any]:
    (found,) = {get_origin(each) or each for each in get_args(hint) or (hint,)} - {NoneType}
    return found if found in _PLAIN else dict
