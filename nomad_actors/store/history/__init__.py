"""Which routes' answers become rows, and how; the other routes are kept as documents only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from .industry import absorb_jobs
from .orders import absorb_closed, absorb_open, decide_missing
from .rows import EVERYTHING, Changes, UnexpectedRow, Window
from .skills import absorb_skills
from .wallet import absorb_journal, absorb_transactions

__all__ = ["EVERYTHING", "Changes", "UnexpectedRow", "Window", "absorb", "renew"]


class Absorb(Protocol):
    """Turns an answer into rows within the caller's transaction; the same answer twice changes nothing."""

    def __call__(
        self, connection: Connection, character_id: int, body: Any, as_of_ms: int, window: Window
    ) -> Changes: ...


JOURNAL = "/characters/{character_id}/wallet/journal"
TRANSACTIONS = "/characters/{character_id}/wallet/transactions"
ORDERS = "/characters/{character_id}/orders"
ORDERS_HISTORY = "/characters/{character_id}/orders/history"
INDUSTRY_JOBS = "/characters/{character_id}/industry/jobs"
SKILLS = "/characters/{character_id}/skills"

_BY_ROUTE: Mapping[str, Absorb] = MappingProxyType(
    {
        JOURNAL: absorb_journal,
        TRANSACTIONS: absorb_transactions,
        ORDERS: absorb_open,
        ORDERS_HISTORY: absorb_closed,
        INDUSTRY_JOBS: absorb_jobs,
        SKILLS: absorb_skills,
    }
)


def absorb(connection: Connection, route: str, character_id: int, body: Any, as_of_ms: int, window: Window) -> Changes:
    """Keep the rows of `body`, if its route has any.

    Raises `UnexpectedRow`.
    """
    keep = _BY_ROUTE.get(route)
    return keep(connection, character_id, body, as_of_ms, window) if keep else Changes()


def renew(connection: Connection, route: str, character_id: int, as_of_ms: int, window: Window) -> Changes:
    """Draw what follows from an answer being unchanged as of `as_of_ms`."""
    if route == ORDERS_HISTORY:
        return decide_missing(connection, character_id, as_of_ms, window)
    return Changes()
