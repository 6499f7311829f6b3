"""Facts about the Redis server, for health checks.

A managed Redis may forbid INFO or CONFIG: facts that come only from them are None then. The fields are those of
https://redis.io/docs/latest/commands/info/.
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
    """What the server reports about itself; an unknown fact is None."""

    #: Redis' time, and half of the round trip in which it was read (ms).
    now_ms: float
    accuracy_ms: float
    version: str | None = None
    used_memory_bytes: int | None = None
    #: 0 for no limit.
    max_memory_bytes: int | None = None
    memory_policy: str | None = None
    append_only: bool | None = None
    append_ok: bool | None = None
    #: False if the last rewrite of the append-only file failed, so that it only grows.
    rewrite_ok: bool | None = None
    #: True if the user `default`, as which Redis replays its append-only file from 7.0 on, may run every command.
    replays_all: bool | None = None
    #: True if Redis writes snapshots automatically (CONFIG's `save`), and if the last one succeeded.
    snapshots: bool | None = None
    snapshot_ok: bool | None = None
    #: True if it refuses writes after a snapshot has failed.
    stops_without_snapshot: bool | None = None
    #: "master" or "slave".
    role: str | None = None

    @property
    def persists(self) -> bool | None:
        """True if jobs are written to disk and the last write succeeded: append-only if that is on, else snapshots."""
        if self.append_only is None:
            return None
        if self.append_only:
            return self.append_ok is not False
        return None if self.snapshots is None else self.snapshots and self.snapshot_ok is not False

    @property
    def memory_percent(self) -> float | None:
        """How much of its memory limit is used; None if it has no limit, or does not report it."""
        if self.used_memory_bytes is None or not self.max_memory_bytes:
            return None
        return 100 * self.used_memory_bytes / self.max_memory_bytes

    @property
    def refusal(self) -> Refusal | None:
        """Why it refuses writes now, as far as it reports that; None if it does not."""
        if self.role == "slave":
            return Refusal.REPLICA
        stopped = self.snapshots and self.snapshot_ok is False and self.stops_without_snapshot is not False
        if stopped or (self.append_only and self.append_ok is False):
            return Refusal.DISK
        return Refusal.FULL if self.memory_percent is not None and self.memory_percent >= 100 else None


def read_server(links: CallerLinks) -> ServerFacts:
    """Read the facts from the server. Raises `RedisUnavailable` if it does not reply."""
    # Read the clock separately: the time that INFO takes would count as a difference between the clocks.
    before = time.perf_counter()
    (now,) = links.run([("TIME",)])
    round_trip_ms = (time.perf_counter() - before) * 1000
    commands = [("INFO",), *(("CONFIG", "GET", name) for name in ("save", "stop-writes-on-bgsave-error"))]
    info, save, stops, user = links.attempt([*commands, ("ACL", "GETUSER", "default")])
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
    """Return the fields of INFO; none if it is forbidden."""
    if isinstance(reply, ResponseError):
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines if ":" in line)}


def _setting(reply: Sequence[bytes] | ResponseError) -> str | None:
    """Return the value of CONFIG GET; None if it is forbidden."""
    if isinstance(reply, ResponseError) or len(reply) < 2:
        return None
    return reply[1].decode(errors="replace").strip()


def _may_do_everything(reply: Any) -> bool | None:
    """Return True if a user may run every command on every key; None if ACL is forbidden or Redis is older than 7.0."""
    if not isinstance(reply, list):
        return None
    fields = dict(zip(reply[::2], reply[1::2], strict=False))
    commands, patterns = fields.get(b"commands"), fields.get(b"keys")
    if not isinstance(commands, bytes) or not isinstance(patterns, bytes):
        return None
    return b"+@all" in commands.split() and b"~*" in patterns.split()


def _facts(now_ms: float, accuracy_ms: float, info: Mapping[str, str], **settings: bool | None) -> ServerFacts:
    def integer(name: str) -> int | None:
        return int(info[name]) if info.get(name, "").isdigit() else None

    def is_word(name: str, word: str) -> bool | None:
        return info[name] == word if name in info else None

    return ServerFacts(
        now_ms,
        accuracy_ms,
        version=info.get("valkey_version") or info.get("redis_version"),
        used_memory_bytes=integer("used_memory"),
        max_memory_bytes=integer("maxmemory"),
        memory_policy=info.get("maxmemory_policy"),
        append_only=is_word("aof_enabled", "1"),
        append_ok=is_word("aof_last_write_status", "ok"),
        rewrite_ok=is_word("aof_last_bgrewrite_status", "ok"),
        snapshot_ok=is_word("rdb_last_bgsave_status", "ok"),
        role=info.get("role"),
        **settings,
    )
