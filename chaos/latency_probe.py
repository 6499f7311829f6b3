"""Records when a Redis answered late: then this machine was busy, and that time counts against no worker."""

from __future__ import annotations

import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

EVERY_SECONDS = 0.001
#: A write that took longer than this is a gap.
LATE_MS = 2.0


class LatencyProbe:
    """Writes to a Redis every millisecond and records the gaps."""

    def __init__(self, url: str) -> None:
        self.gaps_ms: list[tuple[float, float]] = []
        self._client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def after(self, from_ms: float, took_ms: float) -> float:
        """Return the time `took_ms` after `from_ms`, not counting gaps."""
        until_ms = from_ms + took_ms
        for began_ms, ended_ms in self.gaps_ms:
            if began_ms <= until_ms and ended_ms > from_ms:
                until_ms += ended_ms - max(began_ms, from_ms)
        return until_ms

    def stop(self) -> None:
        """Stop writing."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        last_ms = time.time() * 1000
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self._client.incr("pulse")
            except redis.RedisError:
                continue  # The gap ends with the next successful write.
            now_ms = time.time() * 1000
            if now_ms - last_ms > LATE_MS + EVERY_SECONDS * 1000:
                self.gaps_ms.append((last_ms, now_ms))
            last_ms = now_ms
