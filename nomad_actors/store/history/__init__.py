"""The routes whose responses become rows; other routes are stored only as documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy.engine import Connection

from .completeness import DATA_TYPE_BY_ROUTE
from .industry import absorb_jobs, infer_ready
from .orders import absorb_closed, absorb_open, decide_missing
from .proofs import confirms_complete, prove
from .routes import INDUSTRY_JOBS, JOURNAL, ORDERS, ORDERS_HISTORY, SKILLS, TRANSACTIONS
from .rows import Changes, Snapshot, UnexpectedRow
from .skills import absorb_skills, confirms_skills
from .wallet import absorb_journal, absorb_transactions

__all__ = [
    "INDUSTRY_JOBS",
    "JOURNAL",
    "ORDERS",
    "ORDERS_HISTORY",
    "SKILLS",
    "TRANSACTIONS",
    "Changes",
    "Snapshot",
    "UnexpectedRow",
    "absorb",
    "renew",
]


#: Turns a snapshot into rows within the caller's transaction, and saves what it proves; the same one twice changes
#: nothing.
Absorb = Callable[[Connection, Snapshot], Changes]

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
    if snapshot.route not in DATA_TYPE_BY_ROUTE:
        return Changes()
    changes = infer_ready(connection, snapshot) if snapshot.route == INDUSTRY_JOBS else Changes()
    if not confirms_complete(connection, snapshot):
        return changes
    if snapshot.route == SKILLS and not confirms_skills(connection, snapshot):
        return changes
    if snapshot.route == ORDERS_HISTORY:
        changes += decide_missing(connection, snapshot)
    prove(connection, snapshot)
    return changes
