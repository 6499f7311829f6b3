"""What a rule is, and what a client can know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..exchange import Exchange

#: A reason (a name of `REASONS`), and the detail in this case.
Blame = tuple[str, str]


class Rule(Protocol):
    """Judges every finished exchange, in the order in which they finished; called by one thread at a time."""

    def judge(self, exchange: Exchange) -> Iterator[Blame]:
        """Yield what the client did wrong, then remember what the response tells it."""
        ...


class Knowledge:
    """Whether a client could know what a response said when it sent another request.

    It cannot if the request was under way then. `grace_s`, in the host's seconds, is for fleets: what one process has
    read the others know some milliseconds later.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s

    def of(self, known_mono: float, exchange: Exchange) -> bool:
        """Return whether a request was sent with the knowledge of a response that ended at `known_mono`."""
        return exchange.arrived_mono > known_mono + self._grace_s
