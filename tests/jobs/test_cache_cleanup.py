"""The cleanup job keeps the cache small and changes nothing outside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadPayload
from nomad_actors.esi import ROUTES, EsiResponse
from nomad_actors.jobs import cleanup_cache
from nomad_actors.jobs.cache_cleanup import CACHE_CLEANUP, CacheCleanupPayload, CacheCleanupResult, run
from nomad_actors.jobs.services import Services
from nomad_actors.store.schema import wallet_journal

WALLET = ROUTES["/characters/{character_id}/wallet"]
Clean = Callable[..., CacheCleanupResult]


@pytest.fixture
def clean(services: Services, cache_client: redis.Redis) -> Clean:
    """`clean(type, **payload)`: run the job beside keys of a queue and of another program, which must stay."""
    cache_client.set("somebody-else", "1")

    def now(type: str, **more: Any) -> CacheCleanupResult:  # noqa: A002
        payload = CACHE_CLEANUP.validate({"type": type} | more)
        assert isinstance(payload, CacheCleanupPayload)
        result = run(payload, services)
        assert cache_client.get("somebody-else") == b"1"
        return result

    return now


def _fill(services: Services, count: int, clock: ManualClock) -> None:
    for character_id in range(1, count + 1):
        response = EsiResponse(
            status=200,
            not_modified=False,
            body=1.5,
            etag='"e"',
            last_modified=None,
            fresh_until_ms=clock.now_ms() + 120_000,
            pages=1,
            request_id=None,
        )
        services.cache.put(character_id, WALLET, response)
        clock.advance(seconds=1)


def _stored(services: Services, count: int) -> list[int]:
    return [number for number in range(1, count + 1) if services.cache.get(number, WALLET) is not None]


def test_expired_removes_what_is_stale_for_over_a_day(services: Services, clean: Clean, clock: ManualClock) -> None:
    _fill(services, 3, clock)
    assert clean("expired").keys == 0
    clock.advance(seconds=2 * 86_400)
    _fill(services, 1, clock)
    result = clean("expired")
    assert result.keys == 2
    assert result.bytes > 0
    assert _stored(services, 3) == [1]


def test_a_dry_run_reports_and_removes_nothing(services: Services, clean: Clean, clock: ManualClock) -> None:
    _fill(services, 3, clock)
    would_remove = clean("all", dry_run=True)
    assert (would_remove.keys, would_remove.dry_run) == (3, True)
    assert _stored(services, 3) == [1, 2, 3]
    done = clean("all")
    assert (done.keys, done.bytes) == (would_remove.keys, would_remove.bytes)
    assert _stored(services, 3) == []


def test_lru_keeps_what_was_read_last(services: Services, clean: Clean, clock: ManualClock) -> None:
    _fill(services, 4, clock)
    services.cache.get(1, WALLET)
    assert clean("lru", max_size=2).keys == 2
    assert _stored(services, 4) == [1, 4]


def test_a_pattern_is_within_the_caches_own_keys(services: Services, clean: Clean, clock: ManualClock) -> None:
    _fill(services, 2, clock)
    assert clean("pattern", pattern="somebody*").keys == 0
    assert clean("pattern", pattern="esi:characters:*").keys == 2


def test_the_daily_run_removes_the_expired_and_then_bounds_the_rest(
    services: Services, clean: Clean, clock: ManualClock
) -> None:
    _fill(services, 2, clock)
    clock.advance(seconds=2 * 86_400)
    for _ in range(1):
        _fill(services, 1, clock)
    (schedule,) = CACHE_CLEANUP.schedules
    assert CACHE_CLEANUP.validate(schedule.data)
    result = clean("expired", then_lru=True, max_size=0)
    assert result.keys == 2
    assert _stored(services, 2) == []


def test_the_call_adds_the_job(app: App) -> None:
    added = cleanup_cache("lru", max_size=10_000)
    assert (added.queue, added.priority) == ("cache-cleanup", 4)
    job = queues.get_queue("cache-cleanup").get(added.id)
    assert job is not None
    assert job.data == {"type": "lru", "max_size": 10_000, "dry_run": False}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "everything"}, "'expired', 'lru', 'pattern' or 'all'"),
        ({"type": "pattern"}, "type pattern needs a pattern"),
        ({"type": "all", "pattern": "esi:*"}, "type all takes no pattern"),
        ({"type": "expired", "max_size": 1}, "type expired takes no max_size"),
        ({"type": "lru", "max_size": -1}, "greater than or equal to 0"),
    ],
)
def test_wrong_data_is_refused(app: App, data: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPayload, match=message):
        cleanup_cache(**data)
    assert queues.get_queue("cache-cleanup").counts()["waiting"] == 0


@pytest.mark.parametrize(("days", "kept"), [(None, [0, 99, 101]), (100, [0, 99])])
def test_the_daily_run_deletes_old_rows_of_the_database(
    services: Services, clock: ManualClock, days: int | None, kept: list[int]
) -> None:
    services.store.logins.save(character_id=1, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="a token")
    ages = [0, 99, 101]
    entries = [_entry(age, clock.now_ms() - age * 86_400_000) for age in ages]
    with services.store.database.write() as connection:
        connection.execute(sa.insert(wallet_journal), entries)
    services = replace(services, settings=replace(services.settings, keep_history_days=days))
    for payload, rows in (
        ({"dry_run": True, "then_lru": True}, 0),
        ({}, 0),
        ({"then_lru": True}, len(ages) - len(kept)),
    ):
        result = run(CACHE_CLEANUP.validate({"type": "expired"} | payload), services)
        assert result.rows == rows
    with services.store.database.read() as connection:
        assert list(connection.execute(sa.select(wallet_journal.c.id)).scalars()) == kept


def _entry(number: int, date_ms: int) -> dict[str, Any]:
    return {"character_id": 1, "id": number, "date_ms": date_ms, "ref_type": "r", "description": "d"}
