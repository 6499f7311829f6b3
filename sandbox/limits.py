"""ESI's two limiters: token buckets with a sliding window, and the old limit of errors per minute.

Rules from CCP's documentation (rate-limiting.md, best-practices.md of esi-docs, 2026-07-21): a response costs 2 tokens,
3XX 1, 4XX 5, 429 and 5XX nothing, and each token is returned one window after it was spent. Routes without a rate group
count their 4XX and 5XX per address in fixed minutes instead; after 100 of them every route responds with 420.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from dataclasses import dataclass

from .clock import SandboxClock
from .routes import RATE_GROUPS

WINDOW_S = 900
ERROR_WINDOW_S = 60
ERRORS_PER_WINDOW = 100


@dataclass(frozen=True)
class Bucket:
    """The key of a token bucket: a rate group, and application and character or an address."""

    group: str
    user: str


class TokenBuckets:
    """Counts spent tokens per bucket over the last 15 minutes."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._spent: defaultdict[Bucket, deque[tuple[float, int]]] = defaultdict(deque)
        self._lock = threading.Lock()

    def retry_after_s(self, bucket: Bucket) -> int:
        """Return 0 if the bucket has a token, else the seconds until it has one again."""
        wait_s = 0
        with self._lock:
            spent = self._current(bucket)
            missing = sum(cost for _, cost in spent) - RATE_GROUPS[bucket.group] + 1
            for spent_s, cost in spent:
                if missing <= 0:
                    break
                missing -= cost
                wait_s = max(1, math.ceil(spent_s + WINDOW_S - self._clock.now()))
            return wait_s

    def settle(self, bucket: Bucket, status: int) -> dict[str, str]:
        """Spend the tokens of a response with this status; return the rate limit headers."""
        limit, cost = RATE_GROUPS[bucket.group], _cost(status)
        with self._lock:
            spent = self._current(bucket)
            if cost:
                spent.append((self._clock.now(), cost))
            left = max(0, limit - sum(each for _, each in spent))
        return {
            "X-Ratelimit-Group": bucket.group,
            "X-Ratelimit-Limit": f"{limit}/15m",
            "X-Ratelimit-Remaining": str(left),
            "X-Ratelimit-Used": str(cost),
        }

    def is_overdrawn(self, bucket: Bucket) -> bool:
        """Return whether more tokens were spent than the bucket has in a window."""
        with self._lock:
            return sum(cost for _, cost in self._current(bucket)) > RATE_GROUPS[bucket.group]

    def _current(self, bucket: Bucket) -> deque[tuple[float, int]]:
        spent = self._spent[bucket]
        while spent and spent[0][0] <= self._clock.now() - WINDOW_S:
            spent.popleft()
        return spent


class ErrorLimit:
    """Counts the 4XX and 5XX of the routes without a rate group, per address and fixed minute."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._errors: dict[str, tuple[int, int]] = {}
        # The minute in which other programs behind every address have used up its errors.
        self._exhausted: int | None = None
        self._lock = threading.Lock()

    def is_spent(self, address: str) -> bool:
        """Return whether this address has used up its errors of the current minute."""
        with self._lock:
            return self._count(address) >= ERRORS_PER_WINDOW

    def count_error(self, address: str) -> None:
        """Count one error of this address."""
        with self._lock:
            self._errors[address] = (self._window(), self._count(address) + 1)

    def exhaust(self, at_s: float) -> None:
        """Use up the errors of one minute for every address, as another program behind it would."""
        with self._lock:
            self._exhausted = int(at_s) // ERROR_WINDOW_S

    def headers(self, address: str) -> dict[str, str]:
        """Return the headers with the remaining errors and the seconds until the reset."""
        with self._lock:
            left = max(0, ERRORS_PER_WINDOW - self._count(address))
        reset_s = ERROR_WINDOW_S - self._clock.now_s() % ERROR_WINDOW_S
        return {"X-ESI-Error-Limit-Remain": str(left), "X-ESI-Error-Limit-Reset": str(reset_s)}

    def _window(self) -> int:
        return self._clock.now_s() // ERROR_WINDOW_S

    def _count(self, address: str) -> int:
        if self._exhausted == self._window():
            return ERRORS_PER_WINDOW
        window, errors = self._errors.get(address, (0, 0))
        return errors if window == self._window() else 0


def _cost(status: int) -> int:
    if status == 429 or status >= 500:
        return 0
    if status >= 400:
        return 5
    return 1 if status >= 300 else 2
