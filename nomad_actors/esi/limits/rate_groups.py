"""CCP's rate groups: how many tokens a character has in a window, as documented and as ESI's responses say."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
_LIMIT = re.compile(r"([0-9]{1,9})/([0-9]{1,5})([smhd]?)")
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
        self._learnt: dict[str, RateGroup] = {}
        self._read_mono = float("-inf")
        self._lock = threading.Lock()

    def of(self, route: Route) -> RateGroup | None:
        """Return the rate group of a route; None if only the old error limit applies.

        Raises `redis.RedisError`.
        """
        with self._lock:
            if time.monotonic() - self._read_mono > _REFRESH_SECONDS:
                found: Any = self._client.hgetall(key("groups"))
                self._learnt = {name: _unpack(value) for name, value in found.items()}
                self._read_mono = time.monotonic()
            learnt = self._learnt.get(route.name)
        if learnt is not None or route.rate_group is None:
            return learnt
        return RateGroup(route.rate_group, _TOKENS.get(route.rate_group, _UNKNOWN_TOKENS))

    def learn(self, route: Route, headers: Mapping[str, str]) -> None:
        """Save the rate group that a response names, if it is not the one we know.

        Raises `redis.RedisError`.
        """
        name, limit = headers.get("X-Ratelimit-Group"), _LIMIT.fullmatch(headers.get("X-Ratelimit-Limit", ""))
        if not name or not limit or int(limit[1]) < 1 or int(limit[2]) < 1:
            return
        group = RateGroup(name[:100], int(limit[1]), int(limit[2]) * _UNITS_MS[limit[3]])
        if not MIN_WINDOW_MS <= group.window_ms <= MAX_WINDOW_MS or group == self.of(route):
            return
        self._client.hset(key("groups"), route.name, f"{group.tokens} {group.window_ms} {group.name}")
        with self._lock:
            self._learnt[route.name] = group


def tokens_by_group(learnt: Mapping[str, str]) -> dict[str, int]:
    """Return the tokens of each group; `learnt` is what is in Redis."""
    return _TOKENS | {group.name: group.tokens for group in map(_unpack, learnt.values())}


def _unpack(text: str) -> RateGroup:
    tokens, window_ms, name = text.split(" ", 2)
    return RateGroup(name, int(tokens), int(window_ms))
