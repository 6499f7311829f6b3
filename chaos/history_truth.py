"""What the sandbox has really had over a year, and whether a database has all of it that was ever offered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from nomad_actors.store import Store
from nomad_actors.store.history.completeness import Completeness, completeness
from nomad_actors.store.schema import industry_jobs, market_orders, skill_levels, wallet_journal, wallet_transactions
from sandbox.world.characters import Character, World
from sandbox.world.industry import industry_jobs as sandbox_jobs
from sandbox.world.market import open_orders, order_history, orders_placed
from sandbox.world.skills import skills
from sandbox.world.wallet import JOURNAL_DAYS, journal, transactions

DAY_S = 86_400
#: ESI may answer with what it had an hour ago, and a listing takes some time.
TOLERANCE_S = 3_700
Row = Mapping[str, Any]


@dataclass
class Collected:
    """The moments (s) at which each data type of a character was collected to its end."""

    moments: dict[tuple[int, str], list[int]] = field(default_factory=dict)

    def add(self, character_id: int, data_type: str, at_s: int) -> None:
        self.moments.setdefault((character_id, data_type), []).append(at_s)

    def of(self, character_id: int, data_type: str) -> list[int]:
        return self.moments.get((character_id, data_type), [])


@dataclass
class Comparison:
    """What was compared, and the faults that were found."""

    rows: int = 0
    lost: int = 0
    holes: int = 0
    faults: list[str] = field(default_factory=list)


class Truth:
    """The sandbox's world, and when what was collected from it."""

    def __init__(self, world: World, collected: Collected, *, began_s: int, ended_s: int) -> None:
        self._world = world
        self._collected = collected
        self._began_s = began_s
        self._ended_s = ended_s

    def compare(self, store: Store, character: Character, *, may_have_holes: bool) -> Comparison:
        """Compare all tables of a character with what ESI had."""
        found = Comparison()
        with store.database.read() as connection:
            marked = completeness(connection, character.character_id, self._ended_s * 1000)
        for name, read, table in (
            ("wallet_journal", journal, wallet_journal),
            ("wallet_transactions", transactions, wallet_transactions),
        ):
            self._compare_wallet(store, character, name, read, table, marked[name], found)
        self._compare_orders(store, character, marked["market_orders"], found)
        self._compare_jobs(store, character, found)
        self._compare_skills(store, character, found)
        # Whoever is read once a week has orders that were in no response.
        holes = [hole for each in marked.values() for hole in each.holes if hole.cause != "unseen"]
        found.holes = len(holes)
        if holes and not may_have_holes:
            found.faults.append(f"{character.name} has holes: {holes}")
        return found

    def _compare_wallet(
        self,
        store: Store,
        character: Character,
        name: str,
        read: Callable[[World, Character, int], list[dict[str, Any]]],
        table: sa.Table,
        marked: Completeness,
        found: Comparison,
    ) -> None:
        key = next(each.name for each in table.primary_key if each.name != "character_id")
        had = {row[key]: row for moment in self._months() for row in read(self._world, character, moment)}
        stored = _stored(store, table, key, character.character_id)
        moments = self._collected.of(character.character_id, name)
        for row_id, row in had.items():
            found.rows += 1
            at_s = seconds_of(row["date"])
            if row_id in stored:
                found.faults += _differences(f"{name} {row_id}", row, stored.pop(row_id))
            elif any(at - JOURNAL_DAYS * DAY_S + TOLERANCE_S <= at_s <= at - TOLERANCE_S for at in moments):
                found.faults.append(f"{name} {row_id} of {character.name} was offered and is not stored")
            else:
                found.lost += 1
                if not _is_marked(marked, at_s * 1000):
                    found.faults.append(f"{name} {row_id} of {character.name} ({row['date']}) is missing and unmarked")
        found.faults += [f"{name} {row_id} of {character.name} never existed" for row_id in stored]

    def _months(self) -> Iterable[int]:
        return (self._began_s, *range(self._ended_s, self._began_s, -(JOURNAL_DAYS - 1) * DAY_S))

    def _compare_orders(self, store: Store, character: Character, marked: Completeness, found: Comparison) -> None:
        stored = _stored(store, market_orders, "order_id", character.character_id)
        moments = self._collected.of(character.character_id, "market_orders")
        offered: dict[int, tuple[str, Row]] = {}
        for at_s in moments:
            offered |= {row["order_id"]: ("open", row) for row in open_orders(self._world, character, at_s)}
            closed = order_history(self._world, character, at_s)
            offered |= {row["order_id"]: (row["state"], row) for row in closed}
        for order in orders_placed(self._world, character, self._began_s, self._ended_s):
            if order.order_id in stored or order.order_id in offered:
                continue
            found.lost += 1
            if not _is_marked(marked, order.placed_s * 1000):
                placed = datetime.fromtimestamp(order.placed_s, UTC)
                found.faults.append(f"order {order.order_id} of {character.name} ({placed}) is missing and unmarked")
        still_open = {row["order_id"] for row in open_orders(self._world, character, moments[-1])} if moments else set()
        for order_id, (state, row) in offered.items():
            found.rows += 1
            if order_id not in stored:
                found.faults.append(f"order {order_id} of {character.name} was offered and is not stored")
                continue
            one = stored.pop(order_id)
            if state == "open" and order_id not in still_open:
                # It was filled, or ended unseen while nobody asked for longer than ESI's history.
                continue
            if state != one["state"] and not _is_near_end(row, moments[-1]):
                found.faults.append(f"order {order_id} of {character.name} is {one['state']}, not {state}")
            elif state == one["state"] != "open":
                found.faults += _differences(f"order {order_id}", row, one)
        found.faults += [f"order {order_id} of {character.name} never existed" for order_id in stored]

    def _compare_jobs(self, store: Store, character: Character, found: Comparison) -> None:
        stored = _stored(store, industry_jobs, "job_id", character.character_id)
        offered: dict[int, Row] = {}
        for at_s in self._collected.of(character.character_id, "industry_jobs"):
            offered |= {row["job_id"]: row for row in sandbox_jobs(self._world, character, at_s)}
        for job_id, row in offered.items():
            found.rows += 1
            if job_id not in stored:
                found.faults.append(f"job {job_id} of {character.name} was offered and is not stored")
                continue
            one = stored.pop(job_id)
            if row["status"] in ("delivered", "cancelled"):
                found.faults += _differences(f"job {job_id}", row, one)
        found.faults += [f"job {job_id} of {character.name} never existed" for job_id in stored]

    def _compare_skills(self, store: Store, character: Character, found: Comparison) -> None:
        moments = self._collected.of(character.character_id, "skill_history")
        if not moments:
            return
        stored = _stored(store, skill_levels, "skill_id", character.character_id)
        # The response may be up to an hour older.
        before, after = (_levels(skills(self._world, character, moments[-1] - ago_s)) for ago_s in (TOLERANCE_S, 0))
        for skill_id, level in after.items():
            found.rows += 1
            known = stored.pop(skill_id)["trained_level"] if skill_id in stored else 0
            if not before.get(skill_id, 0) <= known <= level:
                found.faults.append(f"skill {skill_id} of {character.name} has level {known}, not {level}")
        found.faults += [f"skill {skill_id} of {character.name} never existed" for skill_id in stored]


def _levels(body: Row) -> dict[int, int]:
    return {each["skill_id"]: each["trained_skill_level"] for each in body["skills"]}


def seconds_of(text: str) -> int:
    """Return ESI's time in seconds."""
    return int(datetime.fromisoformat(text).timestamp())


def _is_marked(marked: Completeness, at_ms: int) -> bool:
    """Return whether a history does not claim to be complete at a moment."""
    if marked.complete_since_ms is None or marked.complete_until_ms is None:
        return True
    is_inside = marked.complete_since_ms <= at_ms <= marked.complete_until_ms
    return not is_inside or any(hole.from_ms <= at_ms <= hole.until_ms for hole in marked.holes)


def _is_near_end(row: Row, at_s: int) -> bool:
    """Return whether an order may have ended just at the last collection, and only one of two lists says so."""
    return at_s - seconds_of(row["issued"]) > (row["duration"] - 1) * DAY_S


def _stored(store: Store, table: sa.Table, key: str, character_id: int) -> dict[int, dict[str, Any]]:
    with store.database.read() as connection:
        rows = connection.execute(sa.select(table).where(table.c.character_id == character_id))
        return {row._mapping[key]: dict(row._mapping) for row in rows}


def _differences(what: str, row: Row, stored: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}: {name} is {stored[column]!r}, ESI had {value!r}"
        for name, value in row.items()
        if (column := _column(name, stored)) is not None and stored[column] != _as_stored(name, value)
    ]


def _column(name: str, stored: Mapping[str, Any]) -> str | None:
    """Return the column of a field; an order's `state` and a job's status are compared elsewhere or as they are."""
    return next((each for each in (name, f"{name}_ms", f"{name.removesuffix('_date')}_ms") if each in stored), None)


def _as_stored(name: str, value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value)) if name != "probability" else value
    return seconds_of(value) * 1000 if name in _TIMES else value


_TIMES = frozenset(("date", "issued", "start_date", "end_date", "completed_date", "pause_date"))
