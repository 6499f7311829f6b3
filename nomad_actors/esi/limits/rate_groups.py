"""CCP's rate groups: how many tokens a character has in a window, as documented and as ESI's responses say."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from ..routes import Route
from .keys import key

#: CCP's document of compatibility date 2026-07-17: tokens in 15 minutes; a group that is not here is learnt.
_TOKENS = {
    "char-location": 1200,
    "char-detail": 600,
    "char-social": 600,
    "char-wallet": 150,
    "char-asset": 1800,
    "char-industry": 600,
    "char-notification": 15,
    "meta": 150,
}
_WINDOW_MS = 900_000
#: For a group that ESI named without its tokens; the smallest that CCP uses.
_UNKNOWN_TOKENS = 15
#: No window outside this is believed: one of years would never let go of what was spent.
MIN_WINDOW_MS, MAX_WINDOW_MS = 60_000, 86_400_000
#: CCP's largest has 1,800; with millions, we would keep no limit at all.
MAX_TOKENS = 100_000
#: More names than this are no rate groups of CCP's, which has about thirty; each costs a key for every character.
_MAX_GROUPS = 200
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LIMIT = re.compile(r"([0-9]{1,9})/([0-9]{1,5})([smhd]?)")
_STORED = re.compile(r"([0-9]{1,9}) ([0-9]{1,12})")
_UNITS_MS = {"": 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: How long a process may not know what another one has learnt.
_REFRESH_SECONDS = 60.0


@dataclass(frozen=True)
class RateGroup:
    """A rate group: its name, and the tokens of one character in one window."""

    name: str
    tokens: int
    window_ms: int = _WINDOW_MS


class RateGroups:
    """The rate group of each route; what ESI's responses say replaces what we knew, for all processes."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._groups: dict[str, RateGroup] = {}
        self._routes: dict[str, str] = {}
        self._read_mono = float("-inf")
        self._lock = threading.Lock()

    def of(self, route: Route) -> RateGroup | None:
        """Return the rate group of a route; None if only the old error limit applies.

        Raises `redis.RedisError`.
        """
        with self._lock:
            if time.monotonic() - self._read_mono > _REFRESH_SECONDS:
                self._read()
            name = self._routes.get(route.name, route.rate_group)
            return None if name is None else self._groups.get(name) or _documented(name)

    def learn(self, route: Route, group: RateGroup) -> None:
        """Save the rate group that a response names: its limit for all its routes, and that this route is in it.

        Raises `redis.RedisError`.
        """
        known = self.of(route)
        if group == known or (group.name not in self._groups and len(self._groups) >= _MAX_GROUPS):
            return
        with self._lock:
            if group != self._groups.get(group.name, _documented(group.name)):
                self._client.hset(key("groups"), group.name, f"{group.tokens} {group.window_ms}")
            if known is None or group.name != known.name:
                self._client.hset(key("routes"), route.name, group.name)
            self._groups[group.name], self._routes[route.name] = group, group.name

    def forget(self) -> list[str]:
        """Forget what was learnt; return the names of the groups.

        Raises `redis.RedisError`.
        """
        with self._lock:
            self._read()
            names = sorted(self._groups | dict.fromkeys(self._routes.values()))
            self._client.delete(key("groups"), key("routes"))
            self._groups, self._routes = {}, {}
        return names

    def _read(self) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(key("groups"))
            pipe.hgetall(key("routes"))
            groups, routes = pipe.execute()
        read = {name: _unpack(name, value) for name, value in groups.items()}
        self._groups = {name: group for name, group in read.items() if group is not None}
        self._routes, self._read_mono = dict(routes), time.monotonic()


def named_in(headers: Mapping[str, str]) -> RateGroup | None:
    """Return the rate group that a response names; None if it names none, or one that cannot be true."""
    name, limit = headers.get("X-Ratelimit-Group", ""), _LIMIT.fullmatch(headers.get("X-Ratelimit-Limit", ""))
    if not _NAME.fullmatch(name) or not limit:
        return None
    return _plausible(RateGroup(name, int(limit[1]), int(limit[2]) * _UNITS_MS[limit[3]]))


def _plausible(group: RateGroup) -> RateGroup | None:
    is_so = 1 <= group.tokens <= MAX_TOKENS and MIN_WINDOW_MS <= group.window_ms <= MAX_WINDOW_MS
    return group if is_so else None


def _documented(name: str) -> RateGroup:
    return RateGroup(name, _TOKENS.get(name, _UNKNOWN_TOKENS))


def _unpack(name: str, text: str) -> RateGroup | None:
    found = _STORED.fullmatch(text)
    return _plausible(RateGroup(name, int(found[1]), int(found[2]))) if found else None
