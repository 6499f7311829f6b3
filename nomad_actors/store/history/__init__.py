"""The routes whose responses become rows; other routes are stored only as documents."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from ..set_aside import is_set_aside
from .industry import absorb_jobs
from .orders import absorb_closed, absorb_open, decide_missing
from .rows import EVERYTHING, Changes, UnexpectedRow, Window
from .skills import absorb_skills
from .wallet import absorb_journal, absorb_transactions

__all__ = ["EVERYTHING", "Changes", "UnexpectedRow", "Window", "absorb", "renew"]


class Absorb(Protocol):
    """Turns a response into rows within the caller's transaction; the same response twice changes nothing."""

    def __call__(
        self,
        connection: Connection,
        character_id: int,
        body: Any,
        as_of_ms: int,
        window: Window,
        is_complete: bool,
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


def absorb(
    connection: Connection,
    route: str,
    character_id: int,
    body: Any,
    as_of_ms: int,
    window: Window,
    *,
    is_complete: bool = True,
) -> Changes:
    """Save the rows of `body`, if its route has any; nothing is inferred from what an incomplete body lacks.

    Raises `UnexpectedRow`.
    """
    save = _BY_ROUTE.get(route)
    return save(connection, character_id, body, as_of_ms, window, is_complete) if save else Changes()


def renew(connection: Connection, route: str, character_id: int, as_of_ms: int, window: Window) -> Changes:
    """Save the consequences of a response that is unchanged as of `as_of_ms`."""
    if route == ORDERS_HISTORY and not is_set_aside(connection, character_id, route):
        return decide_missing(connection, character_id, as_of_ms, window)
    return Changes()
