"""A job's tags: the terms by which it is found, its unique key, and its caller's idempotency key.

Keep in step with ``scripts/lib/tags.lua`` and ``scripts/lib/add.lua``. A term is the hash of a field and its value, so
that all index entries have the same size; with 64 bits, two values collide only among billions of jobs.
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
#: A record stores the length of its tags in one byte.
MAX_TERMS = 16
MAX_KEY_CHARS = 400
#: A unique key lasts at most a year; a longer time is a mistake in the unit.
MAX_UNIQUE_SECONDS = 31_536_000

_EXTRA = struct.Struct(">BdB")


class UniqueUntil(IntEnum):
    """How long a unique key keeps other jobs from being added."""

    START = 1
    END = 2
    FOR_A_TIME = 3


class Unique(NamedTuple):
    """A job's unique key: meanwhile another job with that key is not added, or with `replace` replaces this one."""

    key: str
    until: UniqueUntil
    ttl_ms: int = 0
    replace: bool = False


def term(field: str, value: object) -> bytes:
    """Return the term of a field's value; a number and its text have the same term."""
    text = safe_str(value).lower() if isinstance(value, bool) else safe_str(value)
    return hashlib.blake2b(f"{field}\0{text}".encode(), digest_size=TERM_BYTES).digest()


def terms(values: Mapping[str, Any], indexed: Sequence[str]) -> list[bytes]:
    """Return the terms of the `indexed` fields that have a value; a list has one for each element."""
    found: list[bytes] = []
    for field in indexed:
        value = values.get(field)
        each = value if isinstance(value, (list, tuple)) else [value]
        found += [term(field, one) for one in each if isinstance(one, (str, int)) and one != ""]
    return found[:MAX_TERMS]


def unique(options: Mapping[str, Any]) -> Unique | None:
    """Return the unique key in a message's options, if it has one. Raises `BadOption` saying what is allowed."""
    try:
        return _unique(options)
    except BadOption:
        raise
    except BaseException as error:
        # A value may be an object whose own code fails on any access.
        if came_from_outside(error):
            raise
        raise BadOption(
            f"unique_key or unique_until is an object whose own code failed ({describe_error(error, 200)})"
        ) from error


def _unique(options: Mapping[str, Any]) -> Unique | None:
    key, until = options.get("unique_key"), options.get("unique_until", "end")
    if key is None:
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY_CHARS:
        raise BadOption(f"unique_key {safe_repr(key, 80)} is invalid (allowed: 1 to {MAX_KEY_CHARS} characters)")
    replace = bool(options.get("unique_replace", False))
    if until in ("start", "end"):
        return Unique(key, UniqueUntil[until.upper()], 0, replace)
    if isinstance(until, int) and not isinstance(until, bool) and 1 <= until <= MAX_UNIQUE_SECONDS:
        return Unique(key, UniqueUntil.FOR_A_TIME, until * 1000, replace)
    allowed = f'"start", "end" or seconds from 1 to {MAX_UNIQUE_SECONDS}'
    raise BadOption(f"unique_until {safe_repr(until, 80)} is invalid (allowed: {allowed})")


def pack_extra(terms: Sequence[bytes], unique: Unique | None, idempotency: bytes = b"") -> bytes:
    """Return the data of a new job outside its body; `idempotency` comes from `pack_idempotency`."""
    if not terms and unique is None and not idempotency:
        return b""
    tags = b""
    if unique is not None:
        tags = bytes([unique.until]) + _digest(unique.key)
    elif terms:
        tags = b"\0"
    tags += b"".join(terms)
    replace, ttl_ms = (unique.replace, unique.ttl_ms) if unique is not None else (False, 0)
    return bytes([len(tags)]) + tags + _EXTRA.pack(replace, ttl_ms, len(idempotency)) + idempotency


def pack_idempotency(key: str, request: bytes) -> bytes:
    """Return the digests of a caller's idempotency key and of the request that it stands for."""
    return _digest(key) + hashlib.blake2b(request, digest_size=8).digest()


def _digest(key: str) -> bytes:
    # A key may contain half a surrogate pair.
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()
