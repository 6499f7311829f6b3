"""The Redis server as its operator sees it, facts to judge by, None for what it does not tell.

A managed Redis may forbid INFO or CONFIG: what only they know is None then, and nobody has to guess. The fields are
those of https://redis.io/docs/latest/commands/info/.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from ..errors import Refusal
from .link import CallerLinks


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server says of itself; every fact that it keeps to itself is None."""

    #: Redis' time, and the half of the round trip that it was asked in, ms.
    now_ms: float
    accuracy_ms: float
    version: str | None = None
    used_memory_bytes: int | None = None
    #: 0 for no limit.
    max_memory_bytes: int | None = None
    memory_policy: str | None = None
    append_only: bool | None = None
    append_ok: bool | None = None
    #: Whether the append-only file could be rewritten the last time: else it only grows.
    rewrite_ok: bool | None = None
    #: Whether the user `default`, as whom an append-only file is replayed from 7.0 on, may execute everything.
    replays_all: bool | None = None
    #: Whether snapshots are written by themselves (CONFIG's `save`), and whether the last one could be.
    snapshots: bool | None = None
    snapshot_ok: bool | None = None
    #: Whether it takes no change while the last snapshot is one that failed.
    stops_without_snapshot: bool | None = None
    #: "master" or "slave".
    role: str | None = None

    @property
    def persists(self) -> bool | None:
        """Whether jobs are written to disk and the last write went well: append-only if that is on, else snapshots."""
        if self.append_only is None:
            return None
        if self.append_only:
            return self.append_ok is not False
        return None if self.snapshots is None else self.snapshots and self.snapshot_ok is not False

    @property
    def memory_percent(self) -> float | None:
        """How much of its memory limit is used; None when there is none, or it does not tell."""
        if self.used_memory_bytes is None or not self.max_memory_bytes:
            return None
        return 100 * self.used_memory_bytes / self.max_memory_bytes

    @property
    def refusal(self) -> Refusal | None:
        """Why it takes no change now, as far as it tells; None when it takes them."""
        if self.role == "slave":
            return Refusal.REPLICA
        stopped = self.snapshots and self.snapshot_ok is False and self.stops_without_snapshot is not False
        if stopped or (self.append_only and self.append_ok is False):
            return Refusal.DISK
        return Refusal.FULL if self.memory_percent is not None and self.memory_percent >= 100 else None


class RedisServer:
    """The Redis server of a broker.

    Every method raises `RedisUnavailable` when it does not answer.
    """

    def __init__(self, links: CallerLinks) -> None:
        self._links = links

    def facts(self) -> ServerFacts:
        """Ask the server how it is."""
        # The clock by itself: what INFO costs would count as distance between the clocks.
        before = time.perf_counter()
        (now,) = self._links.run([("TIME",)])
        round_trip_ms = (time.perf_counter() - before) * 1000
        asked = [("INFO",), *(("CONFIG", "GET", name) for name in ("save", "stop-writes-on-bgsave-error"))]
        info, save, stops, user = self._links.attempt([*asked, ("ACL", "GETUSER", "default")])
        now_ms = int(now[0]) * 1000 + int(now[1]) / 1000
        saves, stop = _setting(save), _setting(stops)
        return _facts(
            now_ms,
            round_trip_ms / 2,
            _parsed(info),
            snapshots=None if saves is None else bool(saves),
            stops_without_snapshot=None if stop is None else stop == "yes",
            replays_all=_may_do_everything(user),
        )


def _parsed(reply: bytes | ResponseError) -> Mapping[str, str]:
    """Return the fields of INFO; none when it is forbidden."""
    if isinstance(reply, ResponseError):
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines if ":" in line)}


def _setting(reply: Sequence[bytes] | ResponseError) -> str | None:
    """Return the value of CONFIG GET; None when it is forbidden."""
    if isinstance(reply, ResponseError) or len(reply) < 2:
        return None
    return reply[1].decode(errors="replace").strip()


def _may_do_everything(reply: Any) -> bool | None:
    """Return whether a user may execute every command on every key; None when ACL is forbidden or older than 7.0."""
    if not isinstance(reply, list):
        return None
    fields = dict(zip(reply[::2], reply[1::2], strict=False))
    commands, patterns = fields.get(b"commands"), fields.get(b"keys")
    if not isinstance(commands, bytes) or not isinstance(patterns, bytes):
        return None
    return b"+@all" in commands.split() and b"~*" in patterns.split()


def _facts(now_ms: float, accuracy_ms: float, info: Mapping[str, str], **settings: bool | None) -> ServerFacts:
    def whole(name: str) -> int | None:
        return int(info[name]) if info.get(name, "").isdigit() else None

    def said(name: str, word: str) -> bool | None:
        return info[name] == word if name in info else None

    return ServerFacts(
        now_ms,
        accuracy_ms,
        version=info.get("valkey_version") or info.get("redis_version"),
        used_memory_bytes=whole("used_memory"),
        max_memory_bytes=whole("maxmemory"),
        memory_policy=info.get("maxmemory_policy"),
        append_only=said("aof_enabled", "1"),
        append_ok=said("aof_last_write_status", "ok"),
        rewrite_ok=said("aof_last_bgrewrite_status", "ok"),
        snapshot_ok=said("rdb_last_bgsave_status", "ok"),
        role=info.get("role"),
        **settings,
    )
