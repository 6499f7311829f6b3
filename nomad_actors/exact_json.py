"""JSON with exact numbers: a fraction is a `Decimal` from the text of ESI's response to the text of our documents.

ISK read as doubles are wrong in the last digits from 10^13 on. The standard library writes no `Decimal`; simplejson
reads and writes them as fast as the former does floats.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

#: An integer with more digits is not read: Python stops at 4,300, and no column holds more than 19.
_MAX_DIGITS = 400


def loads(text: str) -> Any:
    """Return a document, in which fractions are `Decimal`; control characters in texts and NaN are accepted too.

    A number that cannot be represented becomes infinity, so that it spoils nothing else. Raises `ValueError`,
    `RecursionError`.
    """
    try:
        return _DECODER.decode(text)
    except simplejson.JSONDecodeError:
        raise
    except (InvalidOperation, ValueError):
        return _WITH_INFINITY.decode(text)


def dumps(value: Any, *, sort_keys: bool = False, allow_nan: bool = False) -> str:
    """Return the shortest JSON of a value, in ASCII, with each `Decimal` as it was read.

    Raises `ValueError` for NaN and infinity unless they are allowed, which no other reader does; `RecursionError`.
    """
    text: str = _ENCODERS[sort_keys, allow_nan].encode(value)
    return text


def _fraction(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:
        return math.inf


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MAX_DIGITS else math.inf


_DECODER = simplejson.JSONDecoder(parse_float=Decimal, strict=False, allow_nan=True)
_WITH_INFINITY = simplejson.JSONDecoder(parse_float=_fraction, parse_int=_integer, strict=False, allow_nan=True)
#: Built once: this takes longer than encoding a small document.
_ENCODERS = {
    (sort_keys, allow_nan): simplejson.JSONEncoder(separators=(",", ":"), sort_keys=sort_keys, allow_nan=allow_nan)
    for sort_keys in (False, True)
    for allow_nan in (False, True)
}
