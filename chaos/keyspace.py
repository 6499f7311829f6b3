"""Reads all keys of a Redis with type, value and time to live, and compares two readings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

#: Tolerance for the time to live of a key, ms: two readings and a restart take time.
TOLERANCE_MS = 2_000


@dataclass(frozen=True)
class Entry:
    """A key's type, value and time to live (ms; -1 for none)."""

    type: bytes
    value: object
    ttl_ms: int


@dataclass(frozen=True)
class Keyspace:
    """The entries of one database by key, and the time of reading (ms)."""

    entries: Mapping[bytes, Entry]
    read_ms: float = field(default_factory=lambda: time.monotonic() * 1000)

    def differences(self, later: Keyspace) -> list[str]:
        """Return what is missing, changed or new in a later reading, except keys that expired meanwhile."""
        passed_ms = later.read_ms - self.read_ms
        found = []
        for key in sorted(self.entries.keys() | later.entries.keys()):
            before, after = self.entries.get(key), later.entries.get(key)
            if not _is_unchanged(before, after, passed_ms):
                found.append(f"{key!r}: {_abbreviated(before)} is now {_abbreviated(after)}")
        return found


def _is_unchanged(before: Entry | None, after: Entry | None, passed_ms: float) -> bool:
    if before is None:
        return False
    if after is None:
        return 0 <= before.ttl_ms <= passed_ms + TOLERANCE_MS
    if (before.ttl_ms < 0) != (after.ttl_ms < 0):
        return False
    ttl_matches = before.ttl_ms < 0 or abs(before.ttl_ms - passed_ms - after.ttl_ms) <= TOLERANCE_MS
    return ttl_matches and (before.type, before.value) == (after.type, after.value)


def _abbreviated(entry: Entry | None) -> str:
    return "nothing" if entry is None else repr(entry)[:300]


def read(client: redis.Redis) -> Keyspace:
    """Read a whole database."""
    return Keyspace({key: entry for key in client.scan_iter(count=1000) if (entry := _entry(client, key)) is not None})


def _entry(client: Any, key: bytes) -> Entry | None:
    kind: bytes = client.type(key)
    ttl_ms: int = client.pttl(key)
    if kind == b"none":
        return None
    readers = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"stream": lambda: client.xrange(key),
    }
    return Entry(kind, readers[kind](), ttl_ms)
