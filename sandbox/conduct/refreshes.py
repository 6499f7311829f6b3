"""Rules for the token endpoint: few at once, one for each character, never a replaced token."""

from __future__ import annotations

from collections.abc import Iterator

from ..exchange import Exchange
from .rule import Blame

MAX_PARALLEL = 4


class Refreshes:
    """A client that never got the new token cannot know that the old one was replaced."""

    def __init__(self) -> None:
        self._undelivered: set[str] = set()

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        if exchange.load is None:
            return
        if exchange.load.others >= MAX_PARALLEL:
            yield "sso-parallel", f"{exchange.load.others} others were under way"
        if exchange.load.same_character:
            yield "refresh-twice-at-once", "another refresh of it was under way"
        elif exchange.was_rotated and exchange.refresh_token not in self._undelivered:
            yield "rotated-token", "it has been replaced"
        if exchange.new_refresh_token and not exchange.is_delivered:
            self._undelivered.add(exchange.refresh_token)
