"""The columns of exported rows: the fields of `nomad_actors.data`, then what its rows compute from them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from .. import exact_json

#: For pages; an export has all rows.
_LEFT_OUT = {"cursor"}
_PLAIN = (bool, int, float, str, datetime, Decimal)


class Column(NamedTuple):
    """One column; its type is `dict` for what is exported as JSON."""

    name: str
    type: type[Any]


def columns_of(row: type[Any]) -> tuple[Column, ...]:
    """Return the columns of rows of this type."""
    hints = get_type_hints(row)
    found = {name: hints[name] for name in row._fields}
    for name, member in inspect.getmembers(row, lambda member: isinstance(member, property)):
        if name not in _LEFT_OUT:
            found[name] = get_type_hints(member.fget)["return"]
    return tuple(Column(name, _type(hint)) for name, hint in found.items())


def _type(hint: Any) -> type[Any]:
    (found,) = {get_origin(each) or each for each in get_args(hint) or (hint,)} - {NoneType}
    return found if found in _PLAIN else dict


def values(row: Any, columns: tuple[Column, ...]) -> Iterator[Any]:
    """Yield a row's values; an object is JSON."""
    for name, kind in columns:
        value = getattr(row, name)
        yield exact_json.dumps(value) if kind is dict and value is not None else value
