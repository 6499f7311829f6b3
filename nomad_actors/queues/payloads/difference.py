"""Finds where a payload that was read back differs from the one that was sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

Path = tuple[str, ...]

#: Types whose values are the same if they are equal. Most values have one of them.
SIMPLE = frozenset({str, int, bool, bytes, type(None)})


class Difference(NamedTuple):
    """The first value that did not arrive unchanged."""

    path: Path
    sent: object
    arrived: object


def difference(sent: object, arrived: object, path: Path = ()) -> Difference | None:
    """Return the first difference between `sent` and `arrived`, types included, or None.

    Unlike in Python, 1, 1.0 and True differ, and NaN equals NaN.
    """
    if isinstance(sent, BaseModel):
        found = _first(sent, arrived, _attributes(sent, arrived, type(sent).model_fields), path)
        if found is not None or sent.__pydantic_private__ is None:
            return found
        return difference(sent.__pydantic_private__, getattr(arrived, "__pydantic_private__", None), path)
    if dataclasses.is_dataclass(sent) and not isinstance(sent, type):
        return _first(sent, arrived, _attributes(sent, arrived, [f.name for f in dataclasses.fields(sent)]), path)
    if isinstance(sent, Mapping):
        return _of_mappings(sent, arrived, path)
    if isinstance(sent, (list, tuple)):
        return _of_lists(sent, arrived, path)
    if isinstance(sent, (set, frozenset)):
        is_same = _same_length(sent, arrived) and set(_typed(sent)) == set(_typed(arrived))  # type: ignore[arg-type]
        return None if is_same else Difference(path, sent, arrived)
    return None if _is_same(sent, arrived) else Difference(path, sent, arrived)


def _attributes(sent: object, arrived: object, names: Iterable[str]) -> Iterable[tuple[str, Any, Any]]:
    return ((name, getattr(sent, name, None), getattr(arrived, name, None)) for name in names)


def _of_mappings(sent: Mapping[Any, Any], arrived: object, path: Path) -> Difference | None:
    if not _same_length(sent, arrived) or set(_typed(sent)) != set(_typed(arrived)):  # type: ignore[arg-type]
        return Difference(path, sent, arrived)
    assert isinstance(arrived, Mapping)
    return _first(sent, arrived, ((str(key), value, arrived[key]) for key, value in sent.items()), path)


def _of_lists(sent: Sequence[Any], arrived: Any, path: Path) -> Difference | None:
    if not _same_length(sent, arrived):
        return Difference(path, sent, arrived)
    return _first(sent, arrived, zip(map(str, range(len(sent))), sent, arrived, strict=True), path)


def _first(sent: object, arrived: object, pairs: Iterable[tuple[str, Any, Any]], path: Path) -> Difference | None:
    if type(sent) is not type(arrived):
        return Difference(path, sent, arrived)
    for name, one, other in pairs:
        if type(one) in SIMPLE and type(one) is type(other) and one == other:
            continue
        found = difference(one, other, (*path, name))
        if found is not None:
            return found
    return None


def _same_length(sent: Any, arrived: Any) -> bool:
    return type(sent) is type(arrived) and len(sent) == len(arrived)


def _typed(values: Iterable[Any]) -> Iterable[tuple[type, Any]]:
    return ((type(value), value) for value in values)


def _is_same(sent: Any, arrived: Any) -> bool:
    if isinstance(sent, float) and isinstance(arrived, float) and sent != sent:
        return arrived != arrived
    # A text enum equals its text, and a default of 0 for a float equals 0.0. Unlike in Python, True does not equal 1.
    is_kin = isinstance(sent, type(arrived)) or (isinstance(sent, int) and isinstance(arrived, float))
    return (type(sent) is type(arrived) or (is_kin and not isinstance(sent, bool))) and bool(sent == arrived)
