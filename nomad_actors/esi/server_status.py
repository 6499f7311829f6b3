"""ESI's `/status`: whether the game server is open, for all requests that a brake on everything stops."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import redis

from ..clock import Clock
from .limits import Brake, Limiter, outcome_of
from .limits.brakes import ESI, down
from .limits.keys import key
from .response import parse
from .transport import Reply, Transport, Unanswered

#: CCP caches `/status` for 30 s; two more for clocks that differ.
_FRESH_MS = 32_000


class ServerStatus:
    """Asks for `/status` by its ETag, and never while its last response is fresh, whichever process had it."""

    def __init__(self, transport: Transport, *, clock: Clock, limiter: Limiter) -> None:
        self._transport = transport
        self._clock = clock
        self._client = limiter.client
        #: The ETag of the last response that said that the server is open, and until when it is fresh (ms).
        self._etag: str | None = None
        self._fresh_until_ms = 0

    def fresh_for_ms(self) -> int:
        """Return for how long the last response is fresh: what it said, ESI's caches would only repeat."""
        with contextlib.suppress(redis.RedisError):
            if text := self._client.get(key("status")):
                until_ms, self._etag = str(text).split(" ", 1)
                self._fresh_until_ms = int(until_ms)
        return min(self._fresh_until_ms - self._clock.now_ms(), _FRESH_MS)

    def brake(self) -> Brake | None:
        """Return the brake that `/status` sets, or None if the game server is open."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        try:
            reply = self._transport.get("/status", headers=headers)
        except Unanswered as error:
            return down(f"ESI did not answer for /status: {error}", unclear=not error.is_unreachable)
        status = _status(reply)
        if isinstance(status, dict) and status.get("vip") is True:
            return down("the game server is starting, for CCP only")
        if (isinstance(status, dict) and "players" in status) or (self._etag and reply.status == 304):
            self._save(reply.headers.get("ETag") or self._etag)
            return None
        reason = f"ESI answered {reply.status} for /status"
        # ESI's own word that nothing may be sent now; anything else may be the failure of /status alone.
        stop = outcome_of(reply.status, reply.headers, limited=ESI, reason=reason).brake
        return down(reason, unclear=True) if stop is None else replace(stop, probes=True)

    def _save(self, etag: str | None) -> None:
        if etag:
            self._etag, self._fresh_until_ms = etag, self._clock.now_ms() + _FRESH_MS
            with contextlib.suppress(redis.RedisError):
                self._client.set(key("status"), f"{self._fresh_until_ms} {etag}")


def _status(reply: Reply) -> Any:
    try:
        return parse(reply.content) if reply.status == 200 else None
    except (ValueError, RecursionError):
        return None
