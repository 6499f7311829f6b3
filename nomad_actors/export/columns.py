"""The columns of exported rows: the fields of `nomad_actors.data`, then what its rows compute from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, get_origin

from ..data.fields import Fields, alternatives

_PLAIN = (bool, int, float, str, datetime, Decimal)

Convert = Callable[[Any], Any]


class Columns:
    """The names and types of the columns of rows of one type; the type `dict` is for objects and lists."""

    def __init__(self, row: type[Any]) -> None:
        self._fields = Fields(row)
        self.types = {name: _type(hint) for name, hint in self._fields.types.items()}
        self.names = tuple(self.types)

    def converted(self, row: Any, converters: list[Convert | None]) -> list[Any]:
        """Return a row's values, each converted unless it is missing."""
        return [
            value if convert is None or value is None else convert(value)
            for convert, value in zip(converters, self._fields.values(row), strict=True)
        ]

    def converters(self, by_type: Mapping[type[Any], Convert]) -> list[Convert | None]:
        """Return what converts each column; None for a type that needs nothing."""
        return [by_type.get(each) for each in self.types.values()]


def _type(hint: Any) -> type[Any]:
    (found,) = {get_origin(each) or each for each in alternatives(hint)} - {NoneType}
    return found if found in _PLAIN else dict
