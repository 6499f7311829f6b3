"""The job, its sweep, and the call that adds it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.clock import ManualClock
from nomad_actors.errors import BadPayload
from nomad_actors.jobs import refresh_character_token
from nomad_actors.jobs.services import Services
from nomad_actors.jobs.token_refresh import TOKEN_REFRESH, TokenRefreshPayload, run, sweep_jobs


def test_a_second_run_reports_a_valid_token(services: Services, seeded: dict[str, Any]) -> None:
    payload = TokenRefreshPayload(character_id=seeded["character_id"], user_id=seeded["user_id"])
    first, second = run(payload, services), run(payload, services)
    assert (first.refreshed, second.refreshed) == (True, False)
    assert first.expires_at_ms == second.expires_at_ms
    assert first.character_id == seeded["character_id"]


LOGIN: dict[str, Any] = {"user_id": 7, "name": "n", "owner_hash": "o", "scopes": [], "refresh_token": "t"}
SWEEP = TOKEN_REFRESH.validate({"sweep": True})
SWEEP_SECONDS = 7_200


def due(services: Services, clock: ManualClock) -> list[int]:
    jobs = sweep_jobs(SWEEP, services.store.logins.all(), clock.now_ms())
    return sorted(job.data["character_id"] for job in jobs)


def test_a_sweep_adds_one_job_for_every_idle_login_of_yesterday_however_often_it_runs(
    app: App, services: Services, clock: ManualClock
) -> None:
    for character_id in (1, 2, 3, 4):
        services.store.logins.save(character_id=character_id, **LOGIN)
    services.store.logins.require_login(4, 1, reason="dead")
    clock.advance(seconds=86_400)
    services.store.logins.save(character_id=2, **LOGIN, access_token="a", expires_at_ms=clock.now_ms() + 600_000)
    for _ in range(2):
        assert run(SWEEP, services).enqueued == 2
    added = queues.get_queue("token-refresh").jobs("waiting")
    assert sorted(job.data["character_id"] for job in added) == [1, 3]
    assert {job.opts.priority for job in added} == {2}


def test_an_idle_login_is_refreshed_once_a_day_and_never_later(services: Services, clock: ManualClock) -> None:
    """Three days of sweeps, at which every job is done; logins began at different times of the day."""
    refreshed: dict[int, list[int]] = {}
    for character_id in range(1, 61):
        services.store.logins.save(character_id=character_id, **LOGIN)
        refreshed[character_id] = [clock.now_ms()]
        clock.advance(seconds=700)
    in_each = []
    for _ in range(36):
        found = due(services, clock)
        in_each.append(len(found))
        for character_id in found:
            services.store.logins.save(character_id=character_id, **LOGIN)
            refreshed[character_id].append(clock.now_ms())
        clock.advance(seconds=SWEEP_SECONDS)
    for character_id, times in refreshed.items():
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        # With the spread of a sweep's jobs, still within a day.
        assert max(gaps) <= 86_400_000, (character_id, gaps)
        assert len(gaps) <= 4
        assert gaps[-1] == 86_400_000
    assert max(in_each[12:]) <= 15, "spread over the day"


def test_a_login_in_doubt_is_refreshed_by_the_next_sweep(services: Services, clock: ManualClock) -> None:
    for character_id in range(1, 31):
        services.store.logins.save(character_id=character_id, **LOGIN)
    services.store.logins.strike(7, 1)
    for _ in range(5):
        found = due(services, clock)
        assert 7 in found
        assert len(found) < 15
        clock.advance(seconds=SWEEP_SECONDS)


def test_a_clock_that_was_ahead_at_the_last_refresh_does_not_keep_a_login_from_sweeps(
    services: Services, clock: ManualClock
) -> None:
    clock.advance(seconds=30 * 86_400)
    services.store.logins.save(character_id=1, **LOGIN)
    clock.advance(seconds=-30 * 86_400)
    assert due(services, clock) == [1]


def test_the_scheduled_sweep_spreads_its_jobs_over_its_interval(
    services: Services, app: App, clock: ManualClock
) -> None:
    for character_id in range(1, 21):
        services.store.logins.save(character_id=character_id, **LOGIN)
    clock.advance(seconds=86_400)
    (schedule,) = TOKEN_REFRESH.schedules
    run(TOKEN_REFRESH.validate(schedule.data), services)
    delays = [job.opts.delay_ms for job in queues.get_queue("token-refresh").jobs("delayed")]
    assert len(delays) == 20
    assert max(delays) < 6_600_000
    assert max(delays) - min(delays) > 1_000_000


def test_an_empty_sweep_adds_nothing(services: Services) -> None:
    assert run(TOKEN_REFRESH.validate({"sweep": True}), services).enqueued == 0


def test_the_call_adds_the_job_at_the_callers_priority(app: App) -> None:
    added = refresh_character_token(90000001, 7, "CRITICAL")
    assert (added.queue, added.priority) == ("token-refresh", 1)
    assert refresh_character_token(90000001, 7).priority == 2
    job = queues.get_queue("token-refresh").get(added.id)
    assert job is not None
    assert (job.name, job.data) == ("token-refresh", {"character_id": 90000001, "user_id": 7})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "character_id, user_id must be given, or sweep be true"),
        ({"character_id": 1}, "user_id must be given"),
        ({"character_id": 1, "user_id": 1, "sweep": True}, "a sweep is over all characters"),
        ({"character_id": 1, "user_id": 1, "spread_seconds": 5}, "spread_seconds goes with sweep"),
        ({"character_id": 0, "user_id": 1}, "greater than 0"),
        ({"character_id": 1, "user_id": 1, "userId": 1}, "userId: Extra inputs"),
    ],
)
def test_wrong_data_is_refused_with_what_is_allowed(data: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPayload, match=message):
        TOKEN_REFRESH.validate(data)
