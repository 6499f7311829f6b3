"""History: every row is stored once, for any range and however often it is collected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.broker import PermanentError
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadPayload
from nomad_actors.jobs import collect_all_historical_data, collect_historical_data
from nomad_actors.jobs.historical_data import (
    DATA_TYPES,
    HISTORICAL_DATA_COLLECTION,
    HistoricalDataPayload,
    HistoricalDataResult,
    run,
)
from nomad_actors.jobs.services import Services

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


def test_dates_limit_the_stored_rows_and_a_later_collection_without_them_adds_the_rest(
    collect: Collect, rows: Rows, clock: ManualClock
) -> None:
    collect("wallet_journal", from_date=datetime.fromtimestamp(clock.now_ms() / 1000 - 7 * 86_400, UTC))
    stored, oldest_ms = rows("SELECT count(*), min(date_ms) FROM wallet_journal")[0]
    assert oldest_ms >= clock.now_ms() - 7 * 86_400_000
    rest = collect("wallet_journal")
    assert rest.outcomes == {"/characters/{character_id}/wallet/journal": "fresh"}
    everything = rows("SELECT count(*) FROM wallet_journal")[0][0]
    assert everything == stored + rest.rows_new
    assert rest.rows_new > 0


def test_a_missing_scope_fails_at_once_by_name(services: Services, seeded: dict[str, Any], collect: Collect) -> None:
    services.store.logins.save(**(seeded | {"scopes": []}))
    with pytest.raises(PermanentError, match=r"esi-markets\.read_character_orders\.v1"):
        collect("market_orders")


def test_a_sweep_adds_every_type_that_the_scopes_allow(app: App, services: Services) -> None:
    login = {"user_id": 7, "name": "n", "owner_hash": "o", "refresh_token": "t"}
    wallet = ["esi-wallet.read_character_wallet.v1"]
    services.store.logins.save(character_id=1, scopes=wallet, **login)
    services.store.logins.save(character_id=2, scopes=[], **login)
    for _ in range(2):
        assert run(HistoricalDataPayload(sweep=True), services).enqueued == 2
    jobs = queues.get_queue("historical-data").jobs("waiting")
    assert sorted(job.data["data_type"] for job in jobs) == ["wallet_journal", "wallet_transactions"]
    assert {(job.data["character_id"], job.opts.priority) for job in jobs} == {(1, 5)}


def test_the_call_takes_days_and_instants_and_includes_all_of_the_last_day(app: App) -> None:
    added = collect_historical_data(
        90000001, 7, "wallet_journal", from_date=date(2025, 1, 1), to_date=date(2025, 10, 18)
    )
    assert (added.queue, added.priority) == ("historical-data", 4)
    job = queues.get_queue("historical-data").get(added.id)
    assert job is not None
    window = HistoricalDataPayload.model_validate(job.data).window
    assert window.from_ms == datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert window.to_ms == datetime(2025, 10, 19, tzinfo=UTC).timestamp() * 1000 - 1
    exact = HistoricalDataPayload(character_id=1, user_id=1, data_type="wallet_journal", to_date=datetime(2025, 10, 18))
    assert exact.window.to_ms == datetime(2025, 10, 18, tzinfo=UTC).timestamp() * 1000


def test_collecting_all_adds_one_batch_job_per_type(app: App) -> None:
    added = collect_all_historical_data(90000001, 7, from_date=date(2025, 1, 1))
    assert {each.priority for each in added} == {5}
    jobs = queues.get_queue("historical-data").jobs("waiting")
    assert {job.data["data_type"] for job in jobs} == set(DATA_TYPES)


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
