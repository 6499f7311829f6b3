"""Rules about the limiters: bans, Retry-After, buckets, the error budget (esi-docs, rate limiting)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..exchange import Exchange
from ..limits import ERROR_WINDOW_S
from .rule import Blame, Knowledge

LEAST_ERRORS_LEFT = 20
#: Half of the 60 s that clients wait, since a backoff has jitter.
BACKOFF_S = 30
MAX_BACKOFF_S = 450


@dataclass(frozen=True)
class _Stop:
    """A pause that a response has demanded, and when it ends."""

    until_s: float
    known_mono: float
    times: int = 1


class Bans:
    """Nothing at all between a 420 and the reset of its minute."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._bans: dict[str, _Stop] = {}

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.service != "esi":
            return
        address = exchange.caller.address
        ban = self._bans.get(address)
        if ban and exchange.at_s < ban.until_s and self._knowledge.of(ban.known_mono, exchange):
            yield "inside-ban", f"{ban.until_s - exchange.at_s:.1f} s before its end"
        if exchange.status == 420 or exchange.response_headers.get("x-esi-error-limit-remain") == "0":
            until_s = int(exchange.finished_s) + _reset_s(exchange)
            # The first response of a ban tells the client; later ones add nothing.
            if ban is None or until_s > ban.until_s:
                self._bans[address] = _Stop(until_s, exchange.finished_mono)


def _reset_s(exchange: Exchange) -> int:
    given = exchange.response_headers.get("x-esi-error-limit-reset", "")
    return int(given) if given.isdigit() else ERROR_WINDOW_S - int(exchange.finished_s) % ERROR_WINDOW_S


class RetryAfter:
    """Nothing for a bucket between its 429 and `Retry-After`; without that, from 60 s on, doubling."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._stops: dict[object, _Stop] = {}

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.service != "esi":
            return
        key: object = exchange.bucket or (exchange.route, exchange.character_id)
        stop = self._stops.get(key)
        if stop and exchange.at_s < stop.until_s and self._knowledge.of(stop.known_mono, exchange):
            reason = "before-backoff" if stop.times else "before-retry-after"
            yield reason, f"{stop.until_s - exchange.at_s:.1f} s too early"
        if exchange.status in (429, 520):
            self._stops[key] = _stop_of(exchange, stop)
        elif exchange.status < 400:
            self._stops.pop(key, None)


def _stop_of(exchange: Exchange, last: _Stop | None) -> _Stop:
    """Return how long a 429 holds; `times` counts those in a row that did not say."""
    given = exchange.response_headers.get("retry-after", "")
    if given.isdigit():
        return _Stop(exchange.finished_s + int(given), exchange.finished_mono, times=0)
    times = last.times + 1 if last else 1
    return _Stop(exchange.finished_s + min(BACKOFF_S * 2 ** (times - 1), MAX_BACKOFF_S), exchange.finished_mono, times)


class OverdrawnBuckets:
    """No request for which its bucket has no tokens, however many are sent at once."""

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.bucket and (exchange.origin == "bucket" or exchange.is_overdrawn):
            yield "overdrawn-bucket", exchange.bucket.group


class ErrorBudget:
    """No request to a route of the old error limit when fewer than 20 errors of its minute are left."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._low: dict[str, tuple[int, float]] = {}

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        left = exchange.response_headers.get("x-esi-error-limit-remain", "")
        if exchange.service != "esi" or exchange.bucket or not left.isdigit() or exchange.status == 420:
            return
        window, address = int(exchange.at_s) // ERROR_WINDOW_S, exchange.caller.address
        low_window, known_mono = self._low.get(address, (-1, 0.0))
        knew = low_window == window and self._knowledge.of(known_mono, exchange)
        is_low = int(left) < LEAST_ERRORS_LEFT
        if knew or (is_low and exchange.status >= 400):
            yield "error-budget", f"{left} errors left"
        if is_low and low_window != window:
            self._low[address] = (window, exchange.finished_mono)
