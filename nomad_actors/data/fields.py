"""The fields of a kind of rows and what its rows compute from them, with their types; without the cursor.

A cursor is for whoever reads in pages: what is written for others has none.
"""

from __future__ import annotations

import inspect
from types import NoneType
from typing import Any, get_args, get_type_hints

_LEFT_OUT = {"cursor"}


class Fields:
    """The fields of the rows of one kind, in order: stored ones first, then `computed` ones."""

    def __init__(self, kind: type[Any]) -> None:
        hints = get_type_hints(kind)
        properties = inspect.getmembers(kind, lambda member: isinstance(member, property))
        computed = {name: get_type_hints(each.fget)["return"] for name, each in properties if name not in _LEFT_OUT}
        self.types = {name: hints[name] for name in kind._fields} | computed
        self._computed = tuple(computed)

    def values(self, row: Any) -> tuple[Any, ...]:
        """Return the values of a row in the order of `types`."""
        return (*row, *(getattr(row, name) for name in self._computed)) if self._computed else tuple(row)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types of a field: several if it may be missing."""
    return get_args(hint) if NoneType in get_args(hint) else (hint,)
