"""Feels a Redis' pulse: when it answered late, so did this machine, and nobody can be blamed for that time."""

from __future__ import annotations

import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

EVERY_SECONDS = 0.001
#: A beat that took longer than this is a gap.
LATE_MS = 2.0


class Pulse:
    """Writes to a Redis every millisecond, and notes from when to when it did not come to it."""

    def __init__(self, url: str) -> None:
        self.gaps_ms: list[tuple[float, float]] = []
        self._client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def after(self, from_ms: float, took_ms: float) -> float:
        """Return when `took_ms` had gone by since `from_ms`, the gaps not counted."""
        until_ms = from_ms + took_ms
        for began_ms, ended_ms in self.gaps_ms:
            if began_ms <= until_ms and ended_ms > from_ms:
                until_ms += ended_ms - max(began_ms, from_ms)
        return until_ms

    def stop(self) -> None:
        """Feel no more."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        last_ms = time.time() * 1000
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self._client.incr("pulse")
            except redis.RedisError:
                continue  # The gap ends with the next beat that is felt.
            now_ms = time.time() * 1000
            if now_ms - last_ms > LATE_MS + EVERY_SECONDS * 1000:
                self.gaps_ms.append((last_ms, now_ms))
            last_ms = now_ms
