"""ESI's documents in Redis: a disposable, bounded copy of the database, under one key prefix.

=============================  ======  ====================================================================
key                           type    meaning
=============================  ======  ====================================================================
``<prefix>characters:<id>:…``  string  one document as JSON; expires after 7 days regardless of its freshness
``<prefix>lru``                zset    document's key without the prefix, scored by last read (ms); expires likewise
=============================  ======  ====================================================================

Cleaning uses bounded steps of SCAN and UNLINK; never KEYS or FLUSH, and never a key without the prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from .. import exact_json
from ..clock import Clock
from .response import EsiResponse
from .routes import ROUTES, Route

#: Much longer than any freshness: documents are needed for 304s and while ESI is down.
TTL_SECONDS = 7 * 86_400
#: A document counts as expired after it has been stale for this long.
STALE_SECONDS = 86_400
#: Keys per step.
STEP = 200
#: A document begins with its freshness, so that it can be read and renewed without the rest.
_HEAD = '{"fresh_until_ms":'
#: Renews a document: KEYS 1 the document, 2 the index; ARGV 1 `_HEAD`, 2 fresh until, 3 the document's name, 4 now
#: (ms), 5 its TTL (s). Returns 0 if there is no document whose freshness can be replaced.
_RENEW = """
local head = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] + #ARGV[2])
if not string.find(head, '^' .. ARGV[1] .. string.rep('%d', #ARGV[2]) .. ',$') then return 0 end
redis.call('SETRANGE', KEYS[1], #ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return 1
"""
#: The prefix that callers write in a pattern; it means ours.
_CALLERS_PREFIX = "esi:"


@dataclass(frozen=True)
class CachedDocument:
    """One cached document."""

    body: Any
    etag: str | None
    fresh_until_ms: int


@dataclass(frozen=True)
class CleanReport:
    """What was removed, or would be in a dry run: the number of keys, and the bytes of their documents."""

    keys: int
    bytes: int


class EsiCache:
    """The cached documents of characters; each belongs to one character.

    Every method raises `redis.RedisError` if Redis does not answer.
    """

    def __init__(self, client: redis.Redis, *, clock: Clock, prefix: str = "nomad-esi:") -> None:
        self._client: redis.Redis = client
        self._clock = clock
        self._prefix = prefix
        self._lru = f"{prefix}lru"
        self._renew = client.register_script(_RENEW)

    def get(self, character_id: int, route: Route) -> CachedDocument | None:
        """Return a document, stale or not, and mark it as read; None if it is not cached."""
        name = _name(character_id, route)
        raw: Any = self._client.get(self._prefix + name)
        if raw is None:
            return None
        document = _read(raw)
        if document is not None:
            self._client.zadd(self._lru, {name: self._clock.now_ms()}, xx=True)
        return document

    def put(self, character_id: int, route: Route, response: EsiResponse) -> None:
        """Cache the document of a response.

        Raises `ValueError` for a 304, which has none.
        """
        if response.not_modified:
            raise ValueError("a 304 has no document; put the document that it renews")
        name = _name(character_id, route)
        document = {"fresh_until_ms": response.fresh_until_ms, "etag": response.etag, "body": response.body}
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._prefix + name, exact_json.dumps(document), ex=TTL_SECONDS)
            pipe.zadd(self._lru, {name: self._clock.now_ms()})
            pipe.expire(self._lru, TTL_SECONDS)
            pipe.execute()

    def renew(self, character_id: int, route: Route, *, fresh_until_ms: int) -> bool:
        """Make the cached document fresh again, without sending it; return False if there is none."""
        name = _name(character_id, route)
        arguments = (_HEAD, fresh_until_ms, name, self._clock.now_ms(), TTL_SECONDS)
        return bool(self._renew(keys=[self._prefix + name, self._lru], args=arguments))

    def clean_expired(self, *, dry_run: bool, older_than_seconds: int = STALE_SECONDS) -> CleanReport:
        """Remove documents that have been stale for `older_than_seconds`, and orphans.

        Orphans are documents without an index entry, which LRU cleaning would never find, and index entries without a
        document; the latter are not counted.
        """
        if not dry_run:
            self._drop_entries_without_document()
        before_ms = self._clock.now_ms() - older_than_seconds * 1000
        return self._remove((self._stale(keys, before_ms) for keys in self._scan("*")), dry_run=dry_run)

    def clean_lru(self, max_size: int, *, dry_run: bool) -> CleanReport:
        """Remove the least recently read documents until `max_size` are left."""
        unread: list[str] = []
        total = 0
        for names in self._scan("*"):
            total += len(names)
            unread += self._unindexed(names)
        surplus = self._least_read(unread, total - max_size)
        steps = (surplus[at : at + STEP] for at in range(0, len(surplus), STEP))
        return self._remove(steps, dry_run=dry_run)

    def clean_pattern(self, pattern: str, *, dry_run: bool) -> CleanReport:
        """Remove the documents of this cache that match a glob such as `esi:characters:95465499:*`."""
        return self._remove(self._scan(pattern.removeprefix(_CALLERS_PREFIX)), dry_run=dry_run)

    def clean_character(self, character_id: int, *, dry_run: bool) -> CleanReport:
        """Remove all documents of one character, without a search through the others."""
        return self._remove(iter([[_name(character_id, route) for route in ROUTES.values()]]), dry_run=dry_run)

    def clean_all(self, *, dry_run: bool) -> CleanReport:
        """Remove all documents of this cache, and nothing else."""
        return self._remove(self._scan("*"), dry_run=dry_run)

    def _scan(self, pattern: str) -> Iterator[list[str]]:
        """Yield the names of documents in bounded steps, each name once."""
        match, cursor, seen = _escaped(self._prefix) + pattern, 0, set[str]()
        while True:
            # The type excludes the index, which is not a document.
            cursor, found = self._client.scan(cursor, match=match, count=STEP, _type="string")
            names = [_text(key).removeprefix(self._prefix) for key in found]
            fresh = [name for name in names if name not in seen]
            seen.update(fresh)
            if fresh:
                yield fresh
            if cursor == 0:
                return

    def _stale(self, names: list[str], before_ms: int) -> list[str]:
        heads = self._pipelined([("GETRANGE", self._prefix + name, 0, 40) for name in names])
        lost = set(self._unindexed(names))
        return [
            name for name, head in zip(names, heads, strict=True) if name in lost or _fresh_until_ms(head) < before_ms
        ]

    def _unindexed(self, names: list[str]) -> list[str]:
        scores = self._client.zmscore(self._lru, names)
        return [name for name, score in zip(names, scores, strict=True) if score is None]

    def _least_read(self, unread: list[str], count: int) -> list[str]:
        """Return up to `count` names: first those without an index entry, then the least recently read.

        Nothing is removed meanwhile: that would shift the ranks of the next step.
        """
        found, at = unread[: max(count, 0)], 0
        while len(found) < count:
            entries: Any = self._client.zrange(self._lru, at, at + STEP - 1)
            if not entries:
                break
            found += self._alive([_text(name) for name in entries])
            at += STEP
        return found[: max(count, 0)]

    def _alive(self, names: list[str]) -> list[str]:
        found = self._pipelined([("EXISTS", self._prefix + name) for name in names])
        return [name for name, exists in zip(names, found, strict=True) if exists]

    def _drop_entries_without_document(self) -> None:
        cursor = 0
        while True:
            cursor, entries = self._client.zscan(self._lru, cursor, count=STEP)
            found: Any = entries
            names = [_text(name) for name, _ in found]
            if gone := set(names).difference(self._alive(names)):
                self._client.zrem(self._lru, *gone)
            if cursor == 0:
                return

    def _remove(self, steps: Iterator[list[str]], *, dry_run: bool) -> CleanReport:
        keys = size = 0
        for names in steps:
            if not names:
                continue
            lengths = self._pipelined([("STRLEN", self._prefix + name) for name in names])
            keys += sum(length > 0 for length in lengths)
            size += sum(lengths)
            if not dry_run:
                full = [self._prefix + name for name in names]
                self._pipelined([("UNLINK", *full), ("ZREM", self._lru, *names)])
        return CleanReport(keys, size)

    def _pipelined(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()


def _name(character_id: int, route: Route) -> str:
    """Return a document's name, such as `characters:<number>:wallet` for `/characters/{character_id}/wallet`."""
    return route.path(character_id).strip("/").replace("/", ":")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _escaped(text: str) -> str:
    """Escape text so that a glob matches it literally."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


def _read(raw: bytes | str) -> CachedDocument | None:
    """Return a cached document, or None if the value is not in this release's format."""
    try:
        document = exact_json.loads(_text(raw))
        return CachedDocument(document["body"], document["etag"], document["fresh_until_ms"])
    except (ValueError, TypeError, KeyError):
        return None


def _fresh_until_ms(head: bytes | str) -> int:
    digits = _text(head).removeprefix(_HEAD).partition(",")[0]
    return int(digits) if digits.isdigit() else 0
