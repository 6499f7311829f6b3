"""What a job is found by, and what it keeps others from being added by: terms, unique keys and callers' own keys.

In step with ``scripts/lib/tags.lua`` and ``scripts/lib/add.lua``. A term is the hash of a field and its value, so that
an index entry has one size whatever was indexed; with 64 bits, two values collide only among billions of jobs.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ...logs.foreign_text import came_from_outside, describe_error, safe_repr, safe_str
from ..errors import BadOption

TERM_BYTES = 8
#: More are of no use, and a record counts its tags' bytes in one byte.
MAX_TERMS = 16
MAX_KEY_CHARS = 400
#: A unique key is held for a year at most: beyond, somebody mistook the unit.
MAX_UNIQUE_SECONDS = 31_536_000

_EXTRA = struct.Struct(">BdB")


class UniqueUntil(IntEnum):
    """For how long a unique key keeps other jobs from being added."""

    START = 1
    END = 2
    FOR_A_TIME = 3


class Unique(NamedTuple):
    """A job's unique key: while it is held, another job with it is not added, or takes its place with `replace`."""

    key: str
    until: UniqueUntil
    ttl_ms: int = 0
    replace: bool = False


def term(field: str, value: object) -> bytes:
    """Return the term of a field's value; a number and its text are the same."""
    return hashlib.blake2b(f"{field}\0{_text(value)}".encode(), digest_size=TERM_BYTES).digest()


def terms(values: Mapping[str, Any], indexed: Sequence[str]) -> list[bytes]:
    """Return the terms of the `indexed` fields that have a value, one for each element of a list."""
    found: list[bytes] = []
    for field in indexed:
        value = values.get(field)
        each = value if isinstance(value, (list, tuple)) else [value]
        found += [term(field, one) for one in each if isinstance(one, (str, int)) and one != ""]
    return found[:MAX_TERMS]


def unique(options: Mapping[str, Any]) -> Unique | None:
    """Return the unique key that a message's options ask for.

    Raises `BadOption` naming what is accepted.
    """
    try:
        return _unique(options)
    except BadOption:
        raise
    except BaseException as error:
        # A value may be an object whose own code fails, whatever is asked of it.
        if came_from_outside(error):
            raise
        raise BadOption(
            f"unique_key or unique_until has own code that failed ({describe_error(error, 200)})"
        ) from error


def _unique(options: Mapping[str, Any]) -> Unique | None:
    key, until = options.get("unique_key"), options.get("unique_until", "end")
    if key is None:
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS:
        raise BadOption(f"unique_key {safe_repr(key, 80)} is unusable (accepted: 1 to {MAX_KEY_CHARS} characters)")
    replace = bool(options.get("unique_replace", False))
    if until in ("start", "end"):
        return Unique(key, UniqueUntil[until.upper()], 0, replace)
    if isinstance(until, int) and not isinstance(until, bool) and 1 <= until <= MAX_UNIQUE_SECONDS:
        return Unique(key, UniqueUntil.FOR_A_TIME, until * 1000, replace)
    accepted = f'"start", "end" or seconds from 1 to {MAX_UNIQUE_SECONDS}'
    raise BadOption(f"unique_until {safe_repr(until, 80)} is unusable (accepted: {accepted})")


def pack_extra(found: Sequence[bytes], unique: Unique | None, asked: bytes = b"") -> bytes:
    """Return what a job brings beside its body; `asked` is the caller's own key and a digest of the request."""
    if not found and unique is None and not asked:
        return b""
    tags = b""
    if unique is not None:
        tags = bytes([unique.until]) + _digest(unique.key)
    elif found:
        tags = b"\0"
    tags += b"".join(found)
    replace, ttl_ms = (unique.replace, unique.ttl_ms) if unique is not None else (False, 0)
    return bytes([len(tags)]) + tags + _EXTRA.pack(replace, ttl_ms, len(asked)) + asked


def pack_asked(key: str, request: bytes) -> bytes:
    """Return a caller's own key for a request, and a digest of what it asks for."""
    return _digest(key) + hashlib.blake2b(request, digest_size=8).digest()


def _digest(key: str) -> bytes:
    # A key may come from data with half a surrogate pair in it.
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()


def _text(value: object) -> str:
    return safe_str(value).lower() if isinstance(value, bool) else safe_str(value)
