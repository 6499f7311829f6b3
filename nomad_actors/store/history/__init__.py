"""The routes whose responses become rows; other routes are stored only as documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy.engine import Connection

from ..set_aside import is_set_aside
from .industry import absorb_jobs
from .orders import absorb_closed, absorb_open, decide_missing
from .rows import Changes, Snapshot, UnexpectedRow
from .skills import absorb_skills
from .wallet import absorb_journal, absorb_transactions

__all__ = ["Changes", "Snapshot", "UnexpectedRow", "absorb", "renew"]


#: Turns a snapshot into rows within the caller's transaction; the same one twice changes nothing.
Absorb = Callable[[Connection, Snapshot], Changes]

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


def absorb(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the rows of `snapshot`, if its route has any.

    Raises `UnexpectedRow`.
    """
    save = _BY_ROUTE.get(snapshot.route)
    return save(connection, snapshot) if save else Changes()


def renew(connection: Connection, snapshot: Snapshot) -> Changes:
    """Save the consequences of a snapshot without a body: ESI's data has not changed up to its time."""
    if snapshot.route == ORDERS_HISTORY and not is_set_aside(connection, snapshot.character_id, snapshot.route):
        return decide_missing(connection, snapshot)
    return Changes()
