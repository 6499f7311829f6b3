"""A rule for 403 and 404: remembered for each character and route, asked again in growing intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ..exchange import Exchange
from .rule import Blame, Knowledge

FIRST_INTERVAL_S = 300
MAX_INTERVAL_S = 86_400
#: A 403 with one of these is SSO's trouble, not a refusal (esi-issues #324, #1303).
SSO_TEXTS = ("unexpected end of json input", "sso responded with", "token expiry is too far in the future")


@dataclass(frozen=True)
class _Refusal:
    times: int
    until_s: float
    known_mono: float


class Refusals:
    """The interval doubles with each refusal in a row; a new login of the character ends it."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._refusals: dict[str, _Refusal] = {}

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.service != "esi" or exchange.query.get("page", "1") != "1":
            return
        refusal = self._refusals.get(exchange.path)
        knew = refusal is not None and self._knowledge.of(refusal.known_mono, exchange)
        if refusal and knew and exchange.at_s < refusal.until_s:
            yield "repeated-refusal", f"{refusal.until_s - exchange.at_s:.0f} s too early, after {refusal.times}"
        if exchange.status == 404 or (exchange.status == 403 and not is_sso_trouble(exchange)):
            times = refusal.times + 1 if refusal and knew else 1
            interval_s = min(FIRST_INTERVAL_S * 2 ** (times - 1), MAX_INTERVAL_S)
            self._refusals[exchange.path] = _Refusal(times, exchange.finished_s + interval_s, exchange.finished_mono)
        elif exchange.status < 400:
            self._refusals.pop(exchange.path, None)

    def forget(self, path: str) -> None:
        """Forget the refusals of a character that logged in again."""
        self._refusals = {key: each for key, each in self._refusals.items() if not f"{key}/".startswith(f"{path}/")}


def is_sso_trouble(exchange: Exchange) -> bool:
    """Return whether a 403 is one of SSO's errors in disguise."""
    try:
        body = json.loads(exchange.body)
    except ValueError:
        return False
    text = str(body.get("error", "")).lower() if isinstance(body, dict) else ""
    return isinstance(body, dict) and ("sso_status" in body or any(each in text for each in SSO_TEXTS))
