"""ESI's `/status`: whether the game server is open, for all requests that a brake on everything stops."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

import redis
import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from ..clock import Clock
from .limits import Brake, Limiter, outcome_of
from .limits.brakes import ESI, down
from .limits.keys import key
from .response import TIMEOUTS_SECONDS

#: CCP caches `/status` for 30 s; two more for clocks that differ.
_FRESH_MS = 32_000


class ServerStatus:
    """Asks for `/status` by its ETag, and never while its last response is fresh, whichever process had it."""

    def __init__(
        self, http: requests.Session, *, base_url: str, headers: Mapping[str, str], clock: Clock, limiter: Limiter
    ) -> None:
        self._http = http
        self._url = f"{base_url}/status"
        self._headers = dict(headers)
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
        headers = self._headers | ({"If-None-Match": self._etag} if self._etag else {})
        try:
            response = self._http.get(self._url, headers=headers, timeout=TIMEOUTS_SECONDS, allow_redirects=False)
            status = response.json() if response.status_code == 200 else None
        except requests.RequestException as error:
            return down(f"ESI did not answer for /status: {type(error).__name__}", unclear=not is_unreachable(error))
        if isinstance(status, dict) and status.get("vip") is True:
            return down("the game server is starting, for CCP only")
        if (isinstance(status, dict) and "players" in status) or (self._etag and response.status_code == 304):
            self._save(response.headers.get("ETag") or self._etag)
            return None
        reason = f"ESI answered {response.status_code} for /status"
        # ESI's own word that nothing may be sent now; anything else may be the failure of /status alone.
        stop = outcome_of(response.status_code, response.headers, limited=ESI, reason=reason).brake
        return down(reason, unclear=True) if stop is None else replace(stop, probes=True)

    def _save(self, etag: str | None) -> None:
        if etag:
            self._etag, self._fresh_until_ms = etag, self._clock.now_ms() + _FRESH_MS
            with contextlib.suppress(redis.RedisError):
                self._client.set(key("status"), f"{self._fresh_until_ms} {etag}")


def is_unreachable(error: requests.RequestException) -> bool:
    """Return whether there was no connection at all; one that is cut may be the failure of one host."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, (NewConnectionError, ConnectTimeoutError))
