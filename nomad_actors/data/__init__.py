"""What was collected, for your own Python: `from nomad_actors import data`, then `data.journal(character_id)`.

The functions read the database of this process's settings (`DATABASE_URL`); `connect` gives a reader of another one.
docs/data.md has examples, and every row's fields with unit and source.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ..store.history.completeness import DATA_TYPES, Completeness, Hole
from .connection import connect, default_data
from .reader import Data
from .rows import (
    Balance,
    Document,
    IndustryJob,
    IndustryJobEvent,
    JournalEntry,
    Order,
    OrderEvent,
    Skill,
    SkillEvent,
    SkillTotal,
    Transaction,
)

__all__ = [
    "DATA_TYPES",
    "Balance",
    "Completeness",
    "Data",
    "Document",
    "Hole",
    "IndustryJob",
    "IndustryJobEvent",
    "JournalEntry",
    "Order",
    "OrderEvent",
    "Skill",
    "SkillEvent",
    "SkillTotal",
    "Transaction",
    "balance_history",
    "completeness",
    "connect",
    "document",
    "industry_job_events",
    "industry_jobs",
    "journal",
    "order_events",
    "orders",
    "skill_history",
    "skill_totals",
    "skills",
    "transactions",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _of_default(method: Callable[Concatenate[Data, _P], _R]) -> Callable[_P, _R]:
    """Return the method of this process's reader, which is made at the first call."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return method(default_data(), *args, **kwargs)

    signature = inspect.signature(method)
    shown = signature.replace(parameters=list(signature.parameters.values())[1:])
    call.__signature__ = shown  # type: ignore[attr-defined]
    return call


balance_history = _of_default(Data.balance_history)
completeness = _of_default(Data.completeness)
document = _of_default(Data.document)
industry_job_events = _of_default(Data.industry_job_events)
industry_jobs = _of_default(Data.industry_jobs)
journal = _of_default(Data.journal)
order_events = _of_default(Data.order_events)
orders = _of_default(Data.orders)
skill_history = _of_default(Data.skill_history)
skill_totals = _of_default(Data.skill_totals)
skills = _of_default(Data.skills)
transactions = _of_default(Data.transactions)
