"""The checks find what was damaged, and nothing in a history that is right or that marks what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors import exact_json
from nomad_actors.errors import UnknownCharacter
from nomad_actors.store import Snapshot, Store, history, schema
from nomad_actors.store.history import INDUSTRY_JOBS, JOURNAL, ORDERS, ORDERS_HISTORY, SKILLS, TRANSACTIONS
from nomad_actors.store.history.rows import to_ms
from nomad_actors.store.verification import Kind, Problem, Verifier
from nomad_actors.store.verification import pages as paging
from sandbox.world.characters import World
from sandbox.world.wallet_day import make_day

CHARACTER = 90000001
NOW_MS = to_ms("2026-11-01T00:00:00Z")
DAY_MS = 86_400_000
FIRST_DAY, DAYS = 20_700, 3
COVERED = (FIRST_DAY * DAY_MS, (FIRST_DAY + DAYS) * DAY_MS)

Check = Callable[..., list[Problem]]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read seven rows a page, so that every check crosses pages."""
    monkeypatch.setattr(paging.pages, "__kwdefaults__", {"size": 7})


@pytest.fixture
def filled(store: Store, save_login: Callable[..., None]) -> Store:
    """A store with a few days of a trader's wallet, orders, industry jobs and skills, claimed to be complete."""
    save_login(CHARACTER)
    world = World(seed=7, characters=8)
    trader = next(each for each in world.characters if each.profession == "trader")
    days = [make_day(world, trader, day) for day in range(FIRST_DAY, FIRST_DAY + DAYS)]
    bodies: dict[str, Any] = {
        JOURNAL: [row for day in days for _, row in day.journal],
        TRANSACTIONS: [row for day in days for _, row in day.transactions],
        ORDERS: [_order(number) for number in range(20)],
        INDUSTRY_JOBS: [_job(number, "active") for number in range(20)],
        SKILLS: {"skills": [_skill(number, 1) for number in range(20)], "total_sp": 5_000},
    }
    for as_of_ms in (1_000, 2_000):
        for route, body in bodies.items():
            _absorb(store, route, body, as_of_ms)
        bodies |= {
            ORDERS: [_order(number, volume_remain=50) for number in range(10)],
            ORDERS_HISTORY: [_order(number, state="cancelled") for number in range(10, 15)],
            INDUSTRY_JOBS: [_job(number, "delivered") for number in range(5)],
            SKILLS: {"skills": [_skill(number, 2) for number in range(20)], "total_sp": 10_000},
        }
    _cover(store)
    return store


@pytest.fixture
def check(store: Store) -> Check:
    """`check(data_types=("wallet_journal",))`: the problems that the checks find."""

    def find(**options: Any) -> list[Problem]:
        return list(Verifier(store.database, NOW_MS, **options).problems())

    return find


def _absorb(store: Store, route: str, body: Any, as_of_ms: int) -> None:
    with store.database.write() as connection:
        history.absorb(connection, Snapshot(CHARACTER, route, _exact(body), as_of_ms))


def _exact(body: Any) -> Any:
    return exact_json.loads(exact_json.dumps(body))


def _cover(store: Store, **changed: int) -> None:
    span = {"complete_since_ms": COVERED[0], "complete_until_ms": COVERED[1], "complete_read_ms": COVERED[1]} | changed
    for data_type in ("wallet_journal", "wallet_transactions", "market_orders", "industry_jobs", "skill_history"):
        row = {"character_id": CHARACTER, "data_type": data_type, **span}
        _change(store, sa.delete(schema.history_coverage).where(schema.history_coverage.c.data_type == data_type))
        _change(store, sa.insert(schema.history_coverage).values(row))


def _mark_hole(store: Store, data_type: str, from_ms: int, until_ms: int, cause: str = "retention") -> None:
    row = {"data_type": data_type, "from_ms": from_ms, "until_ms": until_ms, "cause": cause}
    marked = {"character_id": CHARACTER, "details": "a long outage", "found_ms": NOW_MS, **row}
    _change(store, sa.insert(schema.history_holes).values(marked))


def _change(store: Store, statement: Any) -> None:
    with store.database.write() as connection:
        connection.execute(statement)


def _all(store: Store, query: Any) -> list[Any]:
    with store.database.read() as connection:
        return list(connection.execute(query))


def _order(number: int, **changed: Any) -> dict[str, Any]:
    order = {"order_id": number, "duration": 90, "is_corporation": False, "issued": "2026-10-30T00:00:00Z"}
    order |= {"location_id": 1, "price": 10.5, "range": "region", "region_id": 1, "type_id": 34}
    return order | {"volume_remain": 100, "volume_total": 100} | changed


def _job(number: int, status: str) -> dict[str, Any]:
    names = ("activity_id", "blueprint_id", "blueprint_location_id", "blueprint_type_id", "duration", "facility_id")
    ids = dict.fromkeys((*names, "installer_id", "output_location_id", "runs", "station_id"), 1)
    dates = {"start_date": "2026-10-01T00:00:00Z", "end_date": "2026-10-02T00:00:00Z"}
    return ids | dates | {"job_id": number, "status": status}


def _skill(number: int, level: int) -> dict[str, Any]:
    return {
        "skill_id": number,
        "active_skill_level": level,
        "trained_skill_level": level,
        "skillpoints_in_skill": 250 * level,
    }


def test_a_right_history_has_no_problems(filled: Store, check: Check) -> None:
    rows = _all(filled, sa.select(schema.wallet_journal.c.id))
    assert len(rows) > 200
    assert _all(filled, sa.select(schema.order_events)) != []
    assert check() == []


def test_the_rows_that_are_read_are_those_that_are_counted(filled: Store) -> None:
    read: list[int] = []
    verifier = Verifier(filled.database, NOW_MS, on_rows=read.append)
    assert list(verifier.problems()) == []
    journal = len(_all(filled, sa.select(schema.wallet_journal.c.id)))
    transactions = len(_all(filled, sa.select(schema.wallet_transactions.c.transaction_id)))
    assert sum(read) == verifier.count() == journal + transactions + 20 + 20 + 20
    # One query checks the transactions.
    assert sorted(read)[-2:] == [7, transactions]
    only = Verifier(filled.database, NOW_MS, data_types=["wallet_transactions"])
    assert only.count() == transactions


def _journal_ids(store: Store, ref_type: str | None = None) -> list[int]:
    query = sa.select(schema.wallet_journal.c.id).order_by(schema.wallet_journal.c.id)
    if ref_type is not None:
        query = query.where(schema.wallet_journal.c.ref_type == ref_type)
    return [row.id for row in _all(store, query)]


def test_a_changed_amount_breaks_the_chain_at_its_entry(filled: Store, check: Check) -> None:
    # The first entry of a page, so that the one before it is of another page.
    ids = _journal_ids(filled)
    entry = schema.wallet_journal.c
    _change(filled, sa.update(schema.wallet_journal).where(entry.id == ids[7]).values(amount=entry.amount + 1))
    (found,) = check()
    assert (found.kind, found.ids, found.is_fault) == (Kind.BALANCE, (ids[6], ids[7]), True)
    assert "-1.00 ISK are missing" in found.cause


def test_a_missing_entry_breaks_the_chain_once_unless_a_hole_marks_it(filled: Store, check: Check) -> None:
    ids = _journal_ids(filled, "player_donation")
    ((date_ms,),) = _all(filled, sa.select(schema.wallet_journal.c.date_ms).where(schema.wallet_journal.c.id == ids[1]))
    _change(filled, sa.delete(schema.wallet_journal).where(schema.wallet_journal.c.id == ids[1]))
    (found,) = check()
    assert (found.kind, found.ids[0] < ids[1] < found.ids[1]) == (Kind.BALANCE, True)
    _mark_hole(filled, "wallet_transactions", date_ms, date_ms)
    assert [each.kind for each in check() if each.is_fault] == [Kind.BALANCE]
    _mark_hole(filled, "wallet_journal", date_ms, date_ms)
    assert [each.kind for each in check() if each.is_fault] == []


def test_what_is_not_claimed_to_be_complete_is_no_fault(filled: Store, check: Check) -> None:
    ids = _journal_ids(filled)[100:150]
    _change(filled, sa.delete(schema.wallet_journal).where(schema.wallet_journal.c.id.in_(ids)))
    assert {each.kind for each in check()} == {Kind.BALANCE, Kind.NO_ENTRY}
    for since_ms, until_ms in ((COVERED[1] - 1_000, COVERED[1]), (COVERED[0], COVERED[0] + 1_000)):
        _cover(filled, complete_since_ms=since_ms, complete_until_ms=until_ms)
        assert check() == []


def test_an_entry_that_is_stored_under_two_ids_is_named(filled: Store, check: Check) -> None:
    ids = _journal_ids(filled, "player_donation")
    (row,) = _all(filled, sa.select(schema.wallet_journal).where(schema.wallet_journal.c.id == ids[0]))
    _change(filled, sa.insert(schema.wallet_journal).values({**row._mapping, "id": ids[0] + 1}))
    (found,) = check()
    assert (found.kind, found.ids) == (Kind.REPEATED, (ids[0], ids[0] + 1))


def test_entries_without_amount_or_balance_break_nothing(filled: Store, check: Check) -> None:
    entry, ids = schema.wallet_journal, _journal_ids(filled)
    _change(filled, sa.update(entry).where(entry.c.id == ids[3]).values(balance=None))
    _change(filled, sa.update(entry).where(entry.c.id == ids[20]).values(amount=None))
    assert check() == []


def test_a_trade_needs_its_journal_entry_and_its_transaction(filled: Store, check: Check) -> None:
    trade = schema.wallet_transactions
    first, second, third, fourth = _all(filled, sa.select(trade).order_by(trade.c.transaction_id))[5:9]
    _change(filled, sa.delete(trade).where(trade.c.transaction_id == first.transaction_id))
    _change(filled, sa.delete(schema.wallet_journal).where(schema.wallet_journal.c.id == second.journal_ref_id))
    by_kind = {each.kind: each for each in check()}
    assert by_kind.keys() == {Kind.BALANCE, Kind.NO_ENTRY, Kind.NO_TRANSACTION}
    assert by_kind[Kind.NO_ENTRY].ids == (second.transaction_id, second.journal_ref_id)
    assert by_kind[Kind.NO_TRANSACTION].ids == (first.journal_ref_id, first.transaction_id)
    assert {each.kind for each in check(data_types=["wallet_transactions"])} == {Kind.NO_TRANSACTION}
    # Neither a corporation's trade nor one without a journal entry is in the character's journal.
    for row, changed in ((third, {"is_personal": False}), (fourth, {"journal_ref_id": -1})):
        _change(filled, sa.delete(schema.wallet_journal).where(schema.wallet_journal.c.id == row.journal_ref_id))
        _change(filled, sa.update(trade).where(trade.c.transaction_id == row.transaction_id).values(changed))
    assert sum(each.kind == Kind.NO_ENTRY for each in check()) == 1


def test_a_state_that_its_last_event_contradicts_is_named(filled: Store, check: Check) -> None:
    damaged = (
        (schema.market_orders, "order_id", {"state": "expired"}),
        (schema.industry_jobs, "job_id", {"status": "cancelled"}),
        (schema.skill_levels, "skill_id", {"trained_level": 5}),
    )
    for table, key, changed in damaged:
        _change(filled, sa.update(table).where(table.c[key] == 3).values(changed))
    found = check()
    assert [(each.kind, each.ids[0]) for each in found] == [(Kind.STATE, 3)] * 3
    for problem, state in zip(found, ("expired", "cancelled", "5"), strict=True):
        assert f"3 is {state}, but by its last event" in problem.cause


def test_marked_holes_are_listed_with_what_to_do_and_are_no_faults(filled: Store, check: Check) -> None:
    _mark_hole(filled, "wallet_journal", NOW_MS - 40 * DAY_MS, NOW_MS - 35 * DAY_MS)
    _mark_hole(filled, "market_orders", NOW_MS - 40 * DAY_MS, NOW_MS - 35 * DAY_MS, "set_aside")
    lost, fillable = check()
    assert (lost.kind, lost.is_fault, lost.cause) == (Kind.LOST_HOLE, False, "retention: a long outage")
    assert (fillable.kind, fillable.is_fault) == (Kind.FILLABLE_HOLE, False)
    assert fillable.remedy.endswith(f"--character-id {CHARACTER} --user-id 7 --data-type market_orders")


def test_a_claim_in_the_future_blames_the_clock_and_says_what_takes_it_back(filled: Store, check: Check) -> None:
    _cover(filled, complete_until_ms=NOW_MS + DAY_MS)
    _mark_hole(filled, "wallet_journal", NOW_MS, NOW_MS + DAY_MS, "retention")
    found = [each for each in check() if each.kind is Kind.COVERAGE]
    assert len(found) == 6
    for each in found:
        assert "in the future" in each.cause
        assert "clock" in each.remedy
        assert "backup" not in each.remedy
        assert each.remedy.endswith(f"--character-id {CHARACTER} --user-id 7 --data-type {each.data_type}")


def test_a_lost_row_of_the_wallet_is_read_again_in_full_while_esi_has_it(filled: Store, check: Check) -> None:
    transaction = _all(filled, sa.select(schema.wallet_transactions.c.transaction_id).limit(1))[0].transaction_id
    deleted = schema.wallet_transactions.c.transaction_id == transaction
    _change(filled, sa.delete(schema.wallet_transactions).where(deleted))
    (late,) = check()
    assert late.remedy == "the row was never stored or was deleted here: restore it from a backup"
    now_ms = COVERED[1] + DAY_MS
    (found,) = Verifier(filled.database, now_ms).problems()
    command = f"nomad characters refresh {CHARACTER} --group CHARACTER_WALLET --full"
    assert (found.kind, found.remedy.endswith(f"read all again that ESI has: {command}")) == (Kind.NO_TRANSACTION, True)
    filled.logins.require_login(CHARACTER, 1, reason="dead")
    (found,) = Verifier(filled.database, now_ms).problems()
    assert found.remedy.endswith("its login no longer works: nomad login --user-id 7")


def test_claims_that_cannot_be_true_are_named(filled: Store, check: Check) -> None:
    for route in (JOURNAL, TRANSACTIONS, ORDERS, INDUSTRY_JOBS, SKILLS):
        state = {"character_id": CHARACTER, "route": route, "as_of_ms": COVERED[1], "failures": 0, "next_due_ms": 0}
        _change(filled, sa.insert(schema.sync_state).values(state))
    assert check() == []
    for changed, cause in (
        ({"complete_since_ms": COVERED[1] + 1}, "until when it is complete"),
        ({"complete_until_ms": NOW_MS + DAY_MS}, "in the future"),
        ({"complete_until_ms": COVERED[1] + 1}, "but ESI's newest data is of"),
    ):
        _cover(filled, **changed)
        found = check()
        assert [each.kind for each in found] == [Kind.COVERAGE] * 5
        assert all(cause in each.cause for each in found)


def test_rows_that_are_set_aside_are_listed(filled: Store, check: Check) -> None:
    state = {"character_id": CHARACTER, "route": JOURNAL, "failures": 0, "next_due_ms": 0, "set_aside": 3}
    _change(filled, sa.insert(schema.sync_state).values(state))
    (found,) = check()
    assert (found.kind, found.data_type, found.is_fault) == (Kind.SET_ASIDE, "wallet_journal", False)
    assert found.cause.startswith("3 of the current rows")


def test_only_the_named_characters_are_checked(filled: Store, check: Check, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER + 1)
    _change(filled, sa.update(schema.market_orders).where(schema.market_orders.c.order_id == 3).values(state="filled"))
    assert check(character_ids=[CHARACTER + 1]) == []
    assert len(check(character_ids=[CHARACTER])) == 1
    with pytest.raises(UnknownCharacter, match="character 5 never logged in"):
        check(character_ids=[CHARACTER, 5])
