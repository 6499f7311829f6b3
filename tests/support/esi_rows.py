"""Rows for every route, made from its shape, and what can be wrong with one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from nomad_actors.esi import checks
from nomad_actors.esi.checks import Check, ListOf, ObjectOf

_SAMPLES: dict[Check, Any] = {
    checks.number: 1.5,
    checks.isk: Decimal("1.5"),
    checks.flag: True,
    checks.text: "a text",
    checks.time: "2026-10-30T12:13:14Z",
    checks.date: "2026-10-30",
}
#: What third parties type, and databases reject.
STRANGE_TEXTS = ("NUL \0", "high \ud83d", "low \udc00", "reversed \udc00\ud83d")
_NAN, _INFINITE = float("nan"), float("inf")
_BAD: dict[Check, tuple[Any, ...]] = {
    checks.integer: (2**63, -(2**63) - 1, 10**300, True, 1.5, "7", _NAN, _INFINITE, [1], {"a": 1}),
    checks.natural: (-1, 2**62, 10**300, True, 1.5, "7", _NAN, [1]),
    checks.number: (_NAN, _INFINITE, -_INFINITE, 10**400, True, "1.5", [1.5]),
    checks.isk: (_NAN, _INFINITE, -_INFINITE, 2**63, Decimal("-92233720368547757.01"), True, "1.5", [1.5]),
    checks.flag: (1, "true", _NAN),
    checks.text: (5, True, _NAN, ["a"], {"a": "b"}),
    checks.time: (
        *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"),
        *("2026-10-30", "soon", "", 5, True, _NAN, "2026-10-30T12:13:14Z\0"),
    ),
    checks.date: ("2026-02-30", "0000-01-01", "soon", 5),
}


def row_of(check: Check, number: int) -> Any:
    """Return a row that passes `check`; its integers are `number`."""
    if isinstance(check, ObjectOf):
        return {name: row_of(each, number) for name, each in {**check.required, **check.optional}.items()}
    if isinstance(check, ListOf):
        return [row_of(check.each, number)]
    return number if check in (checks.integer, checks.natural) else _SAMPLES.get(check, "active")


def bad_rows(check: Check, number: int) -> Iterator[Any]:
    """Yield rows that cannot be stored; the numbers of their fields begin with `number`."""
    yield from (None, "text", [], 1.5, True, _NAN, {}, [{"id": 1}], "\ud800")
    if not isinstance(check, ObjectOf):
        return
    for name, each in {**check.required, **check.optional}.items():
        for value in _BAD.get(each, (5, _NAN)):
            number += 1
            yield row_of(check, number) | {name: value}
    for name in check.required:
        number += 1
        yield {field: value for field, value in row_of(check, number).items() if field != name}
        yield row_of(check, number) | {name: None}
    nested: Any = "deep"
    for _ in range(200):
        nested = {"nested": nested}
    for value in (_NAN, {"deep": [_INFINITE]}, nested):
        number += 1
        yield row_of(check, number) | {"a_new_field": value}


def strange_rows(check: ObjectOf, number: int) -> Iterator[Any]:
    """Yield rows whose texts, or unknown fields, have characters that databases reject."""
    names = [name for name, each in {**check.required, **check.optional}.items() if each is checks.text]
    for name in [*names, "a_new_field"]:
        for text in STRANGE_TEXTS:
            number += 1
            yield row_of(check, number) | {name: text}


def random_json(source: random.Random, depth: int = 0) -> Any:
    """Return any value that Python's JSON parser may return, often a rubbish one."""
    kinds = 9 if depth < 4 else 7
    match source.randrange(kinds):
        case 0:
            return source.choice([None, True, False, _NAN, _INFINITE, 2**63, 10**350, -1, 0])
        case 1:
            return source.randrange(-(2**64), 2**64)
        case 2 | 3:
            return source.uniform(-1e9, 1e9)
        case 4 | 5 | 6:
            return "".join(chr(source.choice([0, 0xD800, 0xDFFF, 0x1F680, 65, 48])) for _ in range(source.randrange(9)))
        case 7:
            return [random_json(source, depth + 1) for _ in range(source.randrange(4))]
        case _:
            return {str(random_json(source, 9)): random_json(source, depth + 1) for _ in range(source.randrange(4))}
