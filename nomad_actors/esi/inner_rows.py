"""Removes the bad rows of lists inside a value, so that one of them costs nothing else: a skill, a mail's recipient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .checks import Check, ListOf, ObjectOf


@dataclass(frozen=True)
class Removed:
    """A row that was removed: the names of the fields that lead to its list, the row, and what is wrong with it."""

    path: tuple[str, ...]
    row: Any
    problem: str

    @property
    def reason(self) -> str:
        """What is wrong, and where."""
        return f"a row of {'.'.join(self.path)} {self.problem}"


def pruned(check: Check, value: Any, path: tuple[str, ...] = ()) -> tuple[Any, list[Removed]]:
    """Return `value` without the rows of its lists, at any depth, that do not pass, and these rows.

    The rest is not checked. `value` is not changed.
    """
    if isinstance(check, ObjectOf) and type(value) is dict:
        return _pruned_object(check, value, path)
    if isinstance(check, ListOf) and type(value) is list:
        return _pruned_list(check, value, path)
    return value, []


def rows_at(values: Sequence[Any], path: Sequence[str]) -> list[Any]:
    """Return the rows of the lists to which `path` leads from each of `values`."""
    rows = list(values)
    for name in path:
        inner = [row[name] for row in rows if isinstance(row, dict) and row.get(name) is not None]
        rows = [each for found in inner for each in (found if isinstance(found, list) else [found])]
    return rows


def _pruned_object(check: ObjectOf, value: dict[str, Any], path: tuple[str, ...]) -> tuple[Any, list[Removed]]:
    kept, removed = dict(value), list[Removed]()
    for name, each in {**check.required, **check.optional}.items():
        if name in value:
            kept[name], inner = pruned(each, value[name], (*path, name))
            removed += inner
    return kept, removed


def _pruned_list(check: ListOf, rows: list[Any], path: tuple[str, ...]) -> tuple[Any, list[Removed]]:
    kept, removed = list[Any](), list[Removed]()
    for row in rows:
        kept_row, inner = pruned(check.each, row, path)
        problem = check.each(kept_row)
        if problem is None:
            kept.append(kept_row)
            removed += inner
        else:
            removed.append(Removed(path, row, problem))
    return kept, removed
