"""History: every row is stored once, for any range and however often it is collected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.broker import PermanentError
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadPayload, TryLater
from nomad_actors.jobs import collect_all_historical_data, collect_historical_data
from nomad_actors.jobs.historical_data import (
    DATA_TYPES,
    HISTORICAL_DATA_COLLECTION,
    HistoricalDataPayload,
    HistoricalDataResult,
    run,
    sweep_jobs,
)
from nomad_actors.jobs.services import Services
from nomad_actors.store.history.completeness import completeness
from nomad_actors.store.history.fleet import urgent
from nomad_actors.store.schema import history_coverage, history_holes
from sandbox.faults import Fault
from sandbox.serve import SandboxServer

Collect = Callable[..., HistoricalDataResult]
Rows = Callable[[str], list[tuple[Any, ...]]]
TABLES = {
    "wallet_journal": "wallet_journal",
    "wallet_transactions": "wallet_transactions",
    "market_orders": "market_orders",
    "industry_jobs": "industry_jobs",
    "skill_history": "skill_levels",
}


@pytest.fixture
def collect(services: Services, seeded: dict[str, Any]) -> Collect:
    """`collect(data_type, **payload)`: run the job for this test's character."""

    def now(data_type: str, **more: Any) -> HistoricalDataResult:
        payload = HISTORICAL_DATA_COLLECTION.validate(
            {"character_id": seeded["character_id"], "user_id": 7, "data_type": data_type} | more
        )
        assert isinstance(payload, HistoricalDataPayload)
        return run(payload, services)

    return now


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_a_data_type_is_collected_once_however_often_the_job_runs(
    data_type: str, collect: Collect, rows: Rows, advance: Callable[[float], None]
) -> None:
    first = collect(data_type)
    assert set(first.outcomes.values()) == {"updated"}
    count = rows(f"SELECT count(*) FROM {TABLES[data_type]}")[0][0]
    assert count == first.rows_new > 0
    second = collect(data_type)
    assert set(second.outcomes.values()) == {"fresh"}
    advance(4_000)
    later = collect(data_type)
    assert "fresh" not in later.outcomes.values()
    # The sandbox's characters change over time too.
    assert rows(f"SELECT count(*) FROM {TABLES[data_type]}") == [(count + later.rows_new,)]


def test_transactions_are_read_to_their_end(
    collect: Collect, rows: Rows, services: Services, seeded: dict[str, Any]
) -> None:
    collect("wallet_transactions")
    body = services.store.documents.body(seeded["character_id"], "/characters/{character_id}/wallet/transactions")
    assert rows("SELECT count(DISTINCT transaction_id) FROM wallet_transactions")[0][0] == len(
        {row["transaction_id"] for row in body}
    )


def test_a_range_limits_what_is_counted_and_not_what_is_stored(
    collect: Collect, rows: Rows, clock: ManualClock
) -> None:
    since = datetime.fromtimestamp(clock.now_ms() / 1000 - 7 * 86_400, UTC)
    week = collect("wallet_journal", from_date=since)
    stored = rows("SELECT count(*) FROM wallet_journal")[0][0]
    assert stored == week.rows_new > week.rows > 0
    of_week = f"SELECT count(*) FROM wallet_journal WHERE date_ms >= {clock.now_ms() - 7 * 86_400_000}"
    assert week.rows == rows(of_week)[0][0]
    # Naive times are UTC.
    repeated = collect("wallet_journal", from_date=since.replace(tzinfo=None))
    assert (repeated.rows, repeated.rows_new, set(repeated.outcomes.values())) == (week.rows, 0, {"fresh"})


def test_a_range_that_is_proven_complete_costs_no_request(
    collect: Collect, clock: ManualClock, sandbox: SandboxServer, advance: Callable[[float], None]
) -> None:
    yesterday = datetime.fromtimestamp(clock.now_ms() / 1000 - 86_400, UTC)
    assert set(collect("wallet_journal").outcomes.values()) == {"updated"}
    advance(7_200)
    found = collect("wallet_journal", from_date="2026-10-01", to_date=yesterday)
    assert set(found.outcomes.values()) == {"stored"}
    assert (found.holes, found.complete_until_ms) == ([], clock.now_ms() - 7_200_000)
    # A later end is not proven yet.
    later = collect("wallet_journal", from_date="2026-10-01", to_date=yesterday + timedelta(days=1, minutes=1))
    assert "stored" not in later.outcomes.values()


@pytest.mark.parametrize("data_type", ["market_orders", "industry_jobs", "skill_history"])
def test_orders_jobs_and_skills_are_read_whatever_the_range(
    data_type: str, collect: Collect, clock: ManualClock, advance: Callable[[float], None]
) -> None:
    # What was issued or started long ago may have ended yesterday.
    begin = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    long_ago = {"from_date": begin - timedelta(days=130), "to_date": begin - timedelta(days=100)}
    assert "stored" not in collect(data_type, **long_ago).outcomes.values()
    advance(7_200)
    within = {"from_date": begin, "to_date": begin + timedelta(seconds=1)}
    assert not {"stored", "fresh"} & set(collect(data_type, **within).outcomes.values())


def test_a_range_wider_than_esi_keeps_says_since_when_it_is_complete(
    collect: Collect, clock: ManualClock, advance: Callable[[float], None]
) -> None:
    first_ms = clock.now_ms()
    collect("wallet_journal")
    advance(45 * 86_400)
    found = collect("wallet_journal", from_date="2026-01-01")
    assert found.complete_since_ms == first_ms - 30 * 86_400_000 + 1_000
    (hole,) = found.holes
    assert (hole.from_ms, hole.until_ms) == (first_ms, clock.now_ms() - 30 * 86_400_000 + 1_000)
    assert (hole.cause, hole.can_be_filled) == ("retention", False)
    assert found.rows > found.rows_new > 0
    # ESI no longer shows any of this.
    old = collect("wallet_journal", from_date="2026-10-10", to_date="2026-10-20")
    assert (set(old.outcomes.values()), old.holes) == ({"stored"}, [])
    assert old.rows > 0


def test_a_hole_that_esi_can_fill_is_asked_for_in_full(
    collect: Collect, rows: Rows, services: Services, seeded: dict[str, Any], advance: Callable[[float], None]
) -> None:
    collect("skill_history")
    collect("wallet_transactions")
    # A row that the document has and the history has not, as after a fault of ours.
    with services.store.database.write() as connection:
        (lost,) = connection.execute(sa.text("SELECT max(transaction_id) FROM wallet_transactions")).one()
        connection.execute(sa.text("DELETE FROM wallet_transactions WHERE transaction_id = :lost"), {"lost": lost})
    count = rows("SELECT count(*) FROM wallet_transactions")[0][0]
    known = read_coverage(services, seeded["character_id"])
    hole = {
        "character_id": seeded["character_id"],
        "data_type": "wallet_transactions",
        "from_ms": known - 86_400_000,
        "until_ms": known,
        "cause": "set_aside",
        "details": "",
        "found_ms": known,
    }
    with services.store.database.write() as connection:
        connection.execute(sa.insert(history_holes), [hole])
    advance(3_700)
    found = collect("wallet_transactions")
    assert (found.outcomes, found.holes) == ({"/characters/{character_id}/wallet/transactions": "updated"}, [])
    assert rows("SELECT count(*) FROM wallet_transactions") == [(count + found.rows_new,)]
    assert found.rows_new > 0


def read_coverage(services: Services, character_id: int) -> int:
    with services.store.database.read() as connection:
        found = completeness(connection, character_id, 0)["wallet_transactions"].complete_until_ms
    assert found is not None
    return found


def test_a_listing_that_is_not_read_to_its_end_proves_and_stores_nothing(
    collect: Collect, rows: Rows, services: Services, sandbox: SandboxServer, seeded: dict[str, Any]
) -> None:
    path = "*/wallet/transactions"
    sandbox.parts.faults.add(Fault.from_json({"path": path, "kind": "unavailable", "skip": 1, "times": 20}))
    with pytest.raises(TryLater):
        collect("wallet_transactions")
    assert rows("SELECT count(*) FROM wallet_transactions") == rows("SELECT count(*) FROM history_holes") == [(0,)]
    assert rows("SELECT count(*) FROM history_coverage") == [(0,)]


def test_a_missing_scope_fails_at_once_by_name(services: Services, seeded: dict[str, Any], collect: Collect) -> None:
    services.store.logins.save(**(seeded | {"scopes": []}))
    with pytest.raises(PermanentError, match=r"esi-markets\.read_character_orders\.v1"):
        collect("market_orders")


def test_a_character_that_never_logged_in_has_no_history(services: Services) -> None:
    for dates in ({}, {"to_date": "2025-01-01"}):
        data = {"character_id": 5, "user_id": 7, "data_type": "wallet_journal"} | dates
        with pytest.raises(PermanentError, match="character 5 never logged in"):
            run(HistoricalDataPayload.model_validate(data), services)


def test_a_sweep_adds_every_type_that_the_scopes_allow(app: App, services: Services) -> None:
    login = {"user_id": 7, "name": "n", "owner_hash": "o", "refresh_token": "t"}
    wallet = ["esi-wallet.read_character_wallet.v1"]
    services.store.logins.save(character_id=1, scopes=wallet, **login)
    services.store.logins.save(character_id=2, scopes=[], **login)
    assert [run(HistoricalDataPayload(sweep=True), services).enqueued for _ in range(2)] == [2, 0]
    jobs = queues.get_queue("historical-data").jobs("waiting")
    assert sorted(job.data["data_type"] for job in jobs) == ["wallet_journal", "wallet_transactions"]
    assert {(job.data["character_id"], job.opts.priority) for job in jobs} == {(1, 5)}


def test_characters_whose_history_is_at_risk_come_first(app: App, services: Services, clock: ManualClock) -> None:
    login = {"user_id": 7, "name": "n", "owner_hash": "o", "refresh_token": "t"}
    for character_id in range(1, 6):
        services.store.logins.save(character_id=character_id, scopes=["esi-wallet.read_character_wallet.v1"], **login)
    day_ms, now_ms = 86_400_000, clock.now_ms()
    behind = {1: 1, 2: 25, 3: 23, 4: 1}
    coverage = [
        {
            "character_id": each,
            "data_type": "wallet_journal",
            "complete_since_ms": 0,
            "complete_until_ms": now_ms - days * day_ms,
        }
        for each, days in behind.items()
    ]
    hole = {"from_ms": 5, "cause": "set_aside", "details": "", "found_ms": now_ms}
    ends = {3: now_ms - 40 * day_ms, 4: now_ms - day_ms}
    holes = [hole | {"character_id": each, "data_type": "wallet_journal", "until_ms": ms} for each, ms in ends.items()]
    with services.store.database.write() as connection:
        connection.execute(sa.insert(history_coverage), coverage)
        connection.execute(sa.insert(history_holes), holes)
    payload = HistoricalDataPayload(sweep=True, spread_seconds=14_400)
    first = urgent(services.store.database, now_ms, 0.8)
    assert first == {(2, "wallet_journal"), (4, "wallet_journal")}
    jobs = sweep_jobs(payload, services.store.logins.all(), first)
    assert len(jobs) == 10
    assert {(job.data["character_id"], job.data["data_type"]) for job in jobs[:2]} == first
    assert all(job.options["delay"] < 900_000 for job in jobs[:2])


def test_the_call_takes_days_and_instants_and_includes_all_of_the_last_day(app: App) -> None:
    added = collect_historical_data(
        90000001, 7, "wallet_journal", from_date=date(2025, 1, 1), to_date=date(2025, 10, 18)
    )
    assert (added.queue, added.priority) == ("historical-data", 4)
    job = queues.get_queue("historical-data").get(added.id)
    assert job is not None
    asked = HistoricalDataPayload.model_validate(job.data).range
    assert asked.from_ms == datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert asked.to_ms == datetime(2025, 10, 19, tzinfo=UTC).timestamp() * 1000 - 1
    exact = HistoricalDataPayload(character_id=1, user_id=1, data_type="wallet_journal", to_date=datetime(2025, 10, 18))
    assert exact.range.to_ms == datetime(2025, 10, 18, tzinfo=UTC).timestamp() * 1000


def test_collecting_all_adds_one_batch_job_per_type_and_says_which_stood_already(app: App) -> None:
    one = collect_historical_data(90000001, 7, "market_orders")
    added = collect_all_historical_data(90000001, 7)
    assert [each.new for each in added] == [data_type != "market_orders" for data_type in DATA_TYPES]
    assert added[DATA_TYPES.index("market_orders")].id == one.id
    assert {each.priority for each in added if each.new} == {5}
    jobs = queues.get_queue("historical-data").jobs("waiting")
    assert sorted(job.data["data_type"] for job in jobs) == sorted(DATA_TYPES)
    assert not any(each.new for each in collect_all_historical_data(90000001, 7))


def test_a_call_with_a_range_is_not_answered_by_a_job_without_it(app: App) -> None:
    without = collect_historical_data(90000001, 7, "wallet_journal")
    ranged = collect_historical_data(90000001, 7, "wallet_journal", from_date="2026-10-01")
    assert (without.new, ranged.new) == (True, True)
    assert collect_historical_data(90000001, 7, "wallet_journal", from_date="2026-10-01").id == ranged.id


def test_a_call_finds_the_sweeps_job_and_does_not_wait_for_its_time(app: App, services: Services) -> None:
    login = {"user_id": 7, "name": "n", "owner_hash": "o", "refresh_token": "t"}
    services.store.logins.save(character_id=1, scopes=["esi-wallet.read_character_wallet.v1"], **login)
    sweep = HistoricalDataPayload(sweep=True, spread_seconds=14_400)
    assert run(sweep, services).enqueued == 2
    added = collect_historical_data(1, 7, "wallet_journal")
    assert (added.state, added.priority) == ("waiting", 4)
    queue = queues.get_queue("historical-data")
    assert [job.data["data_type"] for job in queue.jobs("delayed")] == ["wallet_transactions"]
    assert run(sweep, services).enqueued == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"data_type": "loot"}, "wallet_journal.*skill_history"),
        ({"data_type": "wallet_journal", "from_date": "yesterday"}, "from_date"),
        ({"data_type": "wallet_journal", "from_date": "2025-02-01", "to_date": "2025-01-01"}, "after to_date"),
    ],
)
def test_wrong_data_is_refused(app: App, data: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPayload, match=message):
        collect_historical_data(90000001, 7, **data)
    assert queues.get_queue("historical-data").counts()["waiting"] == 0
