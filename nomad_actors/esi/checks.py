"""Checks of JSON values: each returns what is wrong with a value, in words without the value itself, or None.

They accept exactly what both databases and other readers of JSON accept: no NaN, no integer beyond 64 bits, no NUL.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

Check = Callable[[Any], str | None]

#: The only problem that `repaired` mends.
UNSTORABLE = "has characters that databases reject (NUL or half of a surrogate pair)"
#: ESI's own documents have four levels.
MAX_DEPTH = 50
_INTEGERS = (-(2**63), 2**63 - 1)
_LARGEST_NATURAL = 2**62 - 1
_LARGEST = sys.float_info.max
_LARGEST_ISK = 2**63 // 100 - 1
#: Python joins surrogate pairs when it reads JSON: what is left is half of a pair.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    Decimal: "a number",
}


def integer(value: Any) -> str | None:
    """Accept integers of 64 bits."""
    if type(value) is not int:
        return f"is {_name(value)} and not an integer"
    return None if _INTEGERS[0] <= value <= _INTEGERS[1] else "is beyond 64 bits"


def natural(value: Any) -> str | None:
    """Accept integers from 0 to half of 64 bits, so that differences and sums of two of them fit into a column."""
    return integer(value) or (None if 0 <= value <= _LARGEST_NATURAL else "is negative or too large")


def number(value: Any) -> str | None:
    """Accept integers and fractions that a double can hold."""
    if type(value) is not Decimal and type(value) is not int and type(value) is not float:
        return f"is {_name(value)} and not a number"
    return None if -_LARGEST <= value <= _LARGEST else "is not a finite number"


def isk(value: Any) -> str | None:
    """Accept amounts of ISK whose hundredths are an integer of 64 bits, as `store.isk` stores them."""
    return number(value) or (None if -_LARGEST_ISK <= value <= _LARGEST_ISK else "is more ISK than can be stored")


def flag(value: Any) -> str | None:
    """Accept true and false."""
    return None if type(value) is bool else f"is {_name(value)} and not true or false"


def text(value: Any) -> str | None:
    """Accept texts that databases store."""
    if type(value) is not str:
        return f"is {_name(value)} and not a text"
    is_clean = "\0" not in value if value.isascii() else not _UNSTORABLE.search(value)
    return None if is_clean else UNSTORABLE


def short_text(longest: int) -> Check:
    """Accept texts of up to `longest` characters, the width of their column."""

    def check(value: Any) -> str | None:
        return text(value) or (None if len(value) <= longest else f"is longer than {longest} characters")

    return check


def time(value: Any) -> str | None:
    """Accept moments (RFC 3339) from 1971 to 9998; without a time zone they are UTC, as all of ESI's."""
    # Python ignores a NUL and what follows it.
    if type(value) is str and value[10:11] == "T" and value.isprintable():
        with contextlib.suppress(ValueError):
            if 1970 < datetime.datetime.fromisoformat(value).year < 9999:
                return None
    return "is not a time of the years 1971 to 9998"


def date(value: Any) -> str | None:
    """Accept days from 1971 to 9998."""
    if type(value) is str and len(value) == 10:
        with contextlib.suppress(ValueError):
            if 1970 < datetime.date.fromisoformat(value).year < 9999:
                return None
    return "is not a day of the years 1971 to 9998"


def anything(value: Any, depth: int = 0) -> str | None:
    """Accept every value that JSON and databases have, for fields that CCP has added."""
    kind = type(value)
    if kind is str:
        return text(value)
    if kind is Decimal or kind is float:
        return number(value)
    if kind is not dict and kind is not list:
        return None
    if depth == MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} levels deep"
    each_of = [*value, *value.values()] if kind is dict else value
    return next((problem for each in each_of if (problem := anything(each, depth + 1))), None)


class ListOf:
    """Accepts lists whose rows pass `each`."""

    def __init__(self, each: Check) -> None:
        self.each = each

    def __call__(self, value: Any) -> str | None:
        if type(value) is not list:
            return f"is {_name(value)} and not a list"
        return next((f"has a row that {problem}" for row in value if (problem := self.each(row))), None)


class ObjectOf:
    """Accepts objects with these fields; an optional one may be null, and others may be there too."""

    def __init__(self, required: Mapping[str, Check], optional: Mapping[str, Check]) -> None:
        self.required = required
        self.optional = optional
        self._checks = {**required, **optional}
        self._names = frozenset(required)

    def __call__(self, value: Any) -> str | None:
        if type(value) is not dict:
            return f"is {_name(value)} and not an object"
        checks = self._checks
        for name, each in value.items():
            check = checks.get(name)
            problem = check(each) if check is not None else text(name) or anything(each)
            if problem is not None and not (each is None and name in self.optional):
                return f"{name} {problem}"
        if not self._names <= value.keys():
            return f"{', '.join(sorted(self._names - value.keys()))} is missing"
        return None


def repaired(value: Any, depth: int = 0) -> Any:
    """Return a copy of `value` with U+FFFD for each character that databases reject."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if depth <= MAX_DEPTH and isinstance(value, list):
        return [repaired(each, depth + 1) for each in value]
    if depth <= MAX_DEPTH and isinstance(value, dict):
        return {repaired(name): repaired(each, depth + 1) for name, each in value.items()}
    return value


def _name(value: Any) -> str:
    return _NAMES.get(type(value), "null")
