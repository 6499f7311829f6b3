"""A rule for load: no burst on the whole hour, when everybody's timers go off."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..exchange import Exchange
from .rule import Blame

HOUR_S = 3_600
#: The first seconds of an hour, against the time before them.
BURST_S = 5
BEFORE_S = 600
#: Fewer requests are no burst; more are one if their rate is this much above that of the time before.
LEAST_REQUESTS = 20
FACTOR = 4


class HourBursts:
    """Compares the first seconds of each hour with the ten minutes before."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        # The hour whose first seconds are counted, and how many requests they had.
        self._hour_s, self._in_burst = 0.0, 0

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.service != "esi":
            return
        now_s = exchange.at_s
        self._times.append(now_s)
        while self._times[0] < now_s - BEFORE_S:
            self._times.popleft()
        began_s = now_s // HOUR_S * HOUR_S
        if now_s - began_s >= BURST_S:
            return
        self._in_burst = self._in_burst + 1 if began_s == self._hour_s else 1
        self._hour_s = began_s
        usual = (len(self._times) - self._in_burst) * BURST_S / BEFORE_S
        if self._in_burst > max(LEAST_REQUESTS, FACTOR * usual):
            yield "hour-burst", f"{self._in_burst} requests in {BURST_S} s, usually {usual:.1f}"
