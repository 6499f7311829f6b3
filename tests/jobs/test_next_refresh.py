"""Each refresh adds the job of the next one, the only one of its character and route; a sweep adds what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from nomad_actors import queues
from nomad_actors.broker import PermanentError
from nomad_actors.broker.records.limits import Limits
from nomad_actors.clock import ManualClock
from nomad_actors.errors import TryLater
from nomad_actors.esi import ROUTES, NotSent
from nomad_actors.esi.limits import flight
from nomad_actors.esi.limits.brakes import down
from nomad_actors.jobs.esi_refresh import (
    ESI_DATA_REFRESH,
    LATE_MS,
    SUBSCRIPTION_MS,
    EsiRefreshPayload,
    EsiRefreshResult,
    run,
)
from nomad_actors.jobs.services import Services
from nomad_actors.queues.job import Job
from nomad_actors.store import RouteState, schema
from nomad_actors.store.documents import OwnerChanged
from sandbox.serve import SandboxServer

WALLET = "/characters/{character_id}/wallet"
LOCATION, SHIP = "/characters/{character_id}/location", "/characters/{character_id}/ship"
ATTRIBUTES = "/characters/{character_id}/attributes"
ONLINE = "/characters/{character_id}/online"
#: 2026-11-01T12:00:00Z less three days.
LONG_AGO = "2026-10-29T12:00:00Z"

Advance = Callable[[float], None]
Refresh = Callable[..., EsiRefreshResult]


@pytest.fixture
def refresh(services: Services, seeded: dict[str, Any]) -> Refresh:
    """`refresh(endpoint, **payload)`: run the job for this test's character."""

    def now(endpoint: str, **more: Any) -> EsiRefreshResult:
        payload = ESI_DATA_REFRESH.validate(
            {"character_id": seeded["character_id"], "user_id": seeded["user_id"], "endpoint": endpoint} | more
        )
        assert isinstance(payload, EsiRefreshPayload)
        return run(payload, services)

    return now


@pytest.fixture
def state_of(services: Services, seeded: dict[str, Any]) -> Callable[[str], RouteState]:
    """`state_of(route)`: what is stored about a route of this test's character."""

    def read(route: str) -> RouteState:
        state = services.store.documents.state(seeded["character_id"], route)
        assert state is not None
        return state

    return read


def next_jobs(route: str = WALLET, state: str = "delayed") -> list[Job]:
    """Return the scheduled jobs of a route."""
    return [job for job in queues.get_queue("esi-refresh").jobs(state) if job.data["endpoint"] == route]


def due_in_seconds(job: Job) -> float:
    return job.opts.delay_ms / 1000


def test_the_next_refresh_is_a_delayed_job_that_does_the_same(
    refresh: Refresh, seeded: dict[str, Any], state_of: Callable[[str], RouteState], clock: ManualClock
) -> None:
    refresh(WALLET, requested_by="user")
    (job,) = next_jobs()
    assert job.data == {
        "character_id": seeded["character_id"],
        "user_id": seeded["user_id"],
        "endpoint": WALLET,
        "requested_by": "schedule",
    }
    assert due_in_seconds(job) * 1000 == state_of(WALLET).next_due_ms - clock.now_ms()


def test_there_is_one_next_job_however_often_a_route_is_refreshed(refresh: Refresh, advance: Advance) -> None:
    for requested_by in ("user", "system", "schedule", "user"):
        refresh(WALLET, requested_by=requested_by)
        advance(700)
    refresh(LOCATION)
    assert (len(next_jobs()), len(next_jobs(LOCATION))) == (1, 1)


def test_a_scheduled_refresh_that_comes_too_early_sends_nothing_and_is_scheduled_again(
    refresh: Refresh, sandbox: SandboxServer, advance: Advance
) -> None:
    refresh(WALLET, requested_by="user")
    advance(300)
    sandbox.parts.log.clear()
    assert refresh(WALLET, requested_by="schedule").outcome == "fresh"
    assert sandbox.requests() == []
    (job,) = next_jobs()
    assert 295 < due_in_seconds(job) < 365


def test_what_nobody_asked_for_in_weeks_is_not_refreshed_again(refresh: Refresh, advance: Advance) -> None:
    refresh(WALLET, requested_by="schedule")
    assert next_jobs() == []
    refresh(WALLET, requested_by="user")
    assert len(next_jobs()) == 1
    queues.get_queue("esi-refresh").remove(next_jobs()[0].id)
    advance(SUBSCRIPTION_MS / 1000 + 1)
    refresh(WALLET, requested_by="schedule")
    assert next_jobs() == []


def test_a_refresh_asked_for_while_the_copy_is_fresh_comes_when_freshness_ends_and_is_urgent(
    refresh: Refresh,
) -> None:
    refresh(WALLET, requested_by="system")
    refresh(WALLET, requested_by="user", skip_cache=True)
    (job,) = next_jobs()
    assert job.opts.priority == 2
    assert 120 < due_in_seconds(job) < 130


def test_a_refused_route_is_asked_again_when_its_pause_has_passed(
    refresh: Refresh, sandbox: SandboxServer, state_of: Callable[[str], RouteState], clock: ManualClock
) -> None:
    sandbox.fail("/characters/*/wallet", 403)
    with pytest.raises(PermanentError):
        refresh(WALLET, requested_by="user")
    (job,) = next_jobs()
    assert clock.now_ms() + due_in_seconds(job) * 1000 == state_of(WALLET).refused_until_ms


def test_a_character_that_must_log_in_has_no_next_job_until_the_sweep_finds_its_login(
    refresh: Refresh, services: Services, seeded: dict[str, Any], advance: Advance
) -> None:
    refresh(WALLET, requested_by="user")
    queues.get_queue("esi-refresh").remove(next_jobs()[0].id)
    login = services.store.logins.get(seeded["character_id"])
    assert login is not None
    services.store.logins.require_login(login.character_id, login.version, reason="dead")
    advance(2_000)
    with pytest.raises(PermanentError):
        refresh(WALLET, requested_by="schedule")
    assert next_jobs() == []
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 0
    services.store.logins.save(**seeded)
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 1


def test_after_redis_was_lost_the_sweep_adds_every_overdue_refresh_once(
    refresh: Refresh, services: Services, redis_client: redis.Redis, advance: Advance
) -> None:
    refresh(WALLET, requested_by="user")
    refresh(LOCATION, requested_by="user")
    refresh("/characters/{character_id}", requested_by="schedule")
    redis_client.flushdb()
    sweep = EsiRefreshPayload(sweep=True)
    assert run(sweep, services).enqueued == 0
    advance(345 + LATE_MS / 1000)
    assert run(sweep, services).enqueued == 1
    advance(400)
    assert run(sweep, services).enqueued == 1
    assert run(sweep, services).enqueued == 0
    assert len(next_jobs(state="waiting")) == 1
    assert len(next_jobs(LOCATION, state="waiting")) == 1


def test_the_sweep_adds_no_second_job_and_none_for_what_the_scopes_do_not_allow(
    refresh: Refresh, services: Services, seeded: dict[str, Any], advance: Advance
) -> None:
    refresh(WALLET, requested_by="user")
    refresh(LOCATION, requested_by="user")
    advance(10_000)
    # Their jobs wait for a later time than the one by which they are due now.
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 2
    for route in (WALLET, LOCATION):
        (job,) = next_jobs(route, state="waiting")
        assert next_jobs(route) == []
        queues.get_queue("esi-refresh").remove(job.id)
    services.store.logins.save(**(seeded | {"scopes": []}))
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 0
    services.store.logins.save(**seeded)
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 2


def test_the_sweep_moves_no_job_that_is_only_late(refresh: Refresh, advance: Advance, services: Services) -> None:
    refresh(WALLET, requested_by="user")
    (job,) = next_jobs(WALLET)
    queues.get_queue("esi-refresh").promote(job.id)
    advance(10_000)
    # An outage has ended, and many wait for their turn.
    run(EsiRefreshPayload(sweep=True, spread_seconds=86_400), services)
    assert [each.id for each in next_jobs(WALLET, state="waiting")] == [job.id]
    assert next_jobs(WALLET) == []


def test_the_sweep_reaches_routes_behind_many_that_the_scopes_do_not_allow(
    refresh: Refresh, services: Services, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis, advance: Advance
) -> None:
    monkeypatch.setattr("nomad_actors.jobs.esi_refresh.SWEEP_LIMIT", 2)
    refresh(WALLET, requested_by="user")
    redis_client.flushdb()
    with services.store.database.write() as connection:
        for number in range(3):
            connection.execute(
                sa.text(
                    "INSERT INTO sync_state (character_id, route, failures, refusals, set_aside, "
                    "next_due_ms, asked_ms) SELECT character_id, :route, 0, 0, 0, 1, asked_ms "
                    "FROM sync_state WHERE route = :wallet"
                ),
                {"route": f"/an/old/route/{number}", "wallet": WALLET},
            )
    advance(1_000)
    assert [run(EsiRefreshPayload(sweep=True), services).enqueued for _ in range(2)] == [0, 1]


def test_the_sweep_adds_nothing_while_all_jobs_are_deferred(
    refresh: Refresh, services: Services, redis_client: redis.Redis, advance: Advance
) -> None:
    refresh(WALLET, requested_by="user")
    redis_client.flushdb()
    advance(1_000)
    services.limiter.brake(down("the game server is down"))
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 0
    services.limiter.lift("esi")
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 1


def test_a_full_queue_fails_neither_a_refresh_nor_the_sweep(
    refresh: Refresh, services: Services, seeded: dict[str, Any], redis_client: redis.Redis, advance: Advance
) -> None:
    refresh(LOCATION, requested_by="user")
    queues.get_queue("esi-refresh").set_limits(Limits(max_length=1))
    assert refresh(WALLET, requested_by="user").sent
    assert next_jobs() == []
    advance(1_000)
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 0
    queues.get_queue("esi-refresh").set_limits(Limits())
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 2


def test_what_a_login_or_an_operator_lets_be_asked_again_is_asked_although_a_job_waits_for_later(
    refresh: Refresh, services: Services, seeded: dict[str, Any], sandbox: SandboxServer, advance: Advance
) -> None:
    sandbox.fail("/characters/*/wallet", 403, times=2)
    for _ in range(2):
        with pytest.raises(PermanentError):
            refresh(WALLET, requested_by="user")
        advance(4_000)
    assert due_in_seconds(next_jobs()[0]) > 7_000
    services.store.logins.save(**seeded)
    advance(100)
    assert run(EsiRefreshPayload(sweep=True), services).enqueued == 1
    assert (next_jobs(), len(next_jobs(state="waiting"))) == ([], 1)


def test_a_refresh_that_a_user_asked_for_too_early_is_sent_when_freshness_ends(
    refresh: Refresh, sandbox: SandboxServer, advance: Advance
) -> None:
    refresh(ATTRIBUTES, requested_by="system")
    refresh(ATTRIBUTES, requested_by="user", skip_cache=True)
    refresh(ATTRIBUTES, requested_by="system")
    assert next_jobs(ATTRIBUTES)[0].opts.priority == 2
    advance(due_in_seconds(next_jobs(ATTRIBUTES)[0]))
    sandbox.parts.log.clear()
    assert refresh(ATTRIBUTES, requested_by="schedule").sent
    assert due_in_seconds(next_jobs(ATTRIBUTES)[0]) >= 3_600


def test_a_fresh_copy_is_never_scheduled_for_the_past(refresh: Refresh, services: Services, advance: Advance) -> None:
    refresh(ATTRIBUTES, requested_by="user")
    with services.store.database.write() as connection:
        connection.execute(sa.text("UPDATE sync_state SET next_due_ms = 1"))
    assert refresh(ATTRIBUTES, requested_by="schedule").outcome == "fresh"
    assert due_in_seconds(next_jobs(ATTRIBUTES)[0]) > 100


def test_a_copy_from_a_time_to_come_is_not_fresh(refresh: Refresh, services: Services) -> None:
    refresh(WALLET)
    with services.store.database.write() as connection:
        connection.execute(
            sa.text(
                "UPDATE sync_state SET synced_ms = synced_ms + 2592000000, as_of_ms = as_of_ms + 2592000000, "
                "fresh_until_ms = fresh_until_ms + 2592000000"
            )
        )
    assert refresh(WALLET).sent
    assert refresh(WALLET).outcome == "fresh"


def test_the_answer_to_a_request_of_the_old_owner_is_not_the_new_owners(
    refresh: Refresh, services: Services, seeded: dict[str, Any], sandbox: SandboxServer
) -> None:
    sandbox.fail("/characters/*/wallet", 200, body=111_222.5, delay_ms=1_000)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(refresh, WALLET, requested_by="user")
        deadline = time.monotonic() + 10
        while sandbox.parts.faults.waiting() and time.monotonic() < deadline:
            time.sleep(0.01)
        services.store.logins.save(**(seeded | {"owner_hash": "the buyer", "user_id": 99}))
        with pytest.raises(OwnerChanged):
            running.result(10)
    assert services.store.documents.body(seeded["character_id"], WALLET) is None
    assert services.cache.get(seeded["character_id"], ROUTES[WALLET]) is None


def test_many_jobs_for_one_route_at_once_send_one_request(refresh: Refresh, sandbox: SandboxServer) -> None:
    refresh(LOCATION)
    sandbox.parts.log.clear()
    sandbox.fail("/characters/*/wallet", 200, body=5.0, delay_ms=500)
    barrier = threading.Barrier(12)

    def at_once(_: int) -> str:
        barrier.wait(10)
        try:
            return refresh(WALLET, skip_cache=True).outcome
        except TryLater:
            return "later"

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(at_once, range(12)))
    assert len(sandbox.requests()) == 1
    assert sorted(set(outcomes) - {"fresh"}) == ["later", "updated"]
    assert refresh(WALLET, skip_cache=True).outcome == "fresh"


def test_a_job_that_was_killed_continues_its_own_flight_and_others_wait(
    services: Services, seeded: dict[str, Any]
) -> None:
    limiter, route = services.limiter, ROUTES[WALLET]
    with flight(limiter, route, 7, owner="job-1"):
        with flight(limiter, route, 7, owner="job-1"):
            pass
        with flight(limiter, route, 8, owner="job-2"), flight(limiter, ROUTES[SHIP], 7, owner="job-2"):
            pass
    with (
        flight(limiter, route, 7, owner="job-1"),
        pytest.raises(NotSent) as error,
        flight(limiter, route, 7, owner="x"),
    ):
        pass
    assert error.value.cause == "flight"
    with flight(limiter, route, 7, owner="x"):
        pass


def test_no_token_is_refreshed_for_a_request_that_a_brake_stops(
    refresh: Refresh, services: Services, sandbox: SandboxServer
) -> None:
    services.limiter.brake(down("the game server is down"))
    sandbox.parts.log.clear()
    for requested_by in ("user", "schedule"):
        with pytest.raises(NotSent, match="down"):
            refresh(WALLET, requested_by=requested_by)
    assert sandbox.requests() == []


@pytest.mark.parametrize("what", ["refused", "no response for a day"])
def test_a_player_of_whom_online_says_nothing_any_more_is_not_taken_for_offline(
    refresh: Refresh, sandbox: SandboxServer, advance: Advance, what: str
) -> None:
    offline = {"online": False, "last_login": LONG_AGO, "last_logout": LONG_AGO, "logins": 3}
    sandbox.fail("/characters/*/online", 200, body=offline)
    for route in (ONLINE, LOCATION):
        refresh(route, requested_by="user")
    assert 3_000 <= due_in_seconds(next_jobs(LOCATION)[0]) < 3_040
    if what == "refused":
        advance(3_600)
        sandbox.fail("/characters/*/online", 403, body={"error": "Forbidden"})
        with pytest.raises(PermanentError):
            refresh(ONLINE, requested_by="schedule")
    else:
        advance(90_000)
    refresh(LOCATION, requested_by="schedule")
    assert 300 <= due_in_seconds(next_jobs(LOCATION)[0]) < 335


@pytest.mark.parametrize("outcome", ["updated", "fresh", "skipped", "refused"])
def test_the_next_job_has_the_user_that_the_character_has_now(
    refresh: Refresh,
    services: Services,
    seeded: dict[str, Any],
    sandbox: SandboxServer,
    advance: Advance,
    outcome: str,
) -> None:
    refresh(WALLET, requested_by="user")
    login = services.store.logins.get(seeded["character_id"])
    assert login is not None
    services.store.logins.save(**(seeded | {"user_id": 77, "refresh_token": login.refresh_token}))
    if outcome in ("updated", "refused"):
        advance(700)
    if outcome == "refused":
        sandbox.fail("/characters/*/wallet", 403, body={"error": "Forbidden"})
        with pytest.raises(PermanentError):
            refresh(WALLET, requested_by="schedule")
    else:
        refresh(WALLET, requested_by="schedule", skip_cache=outcome == "skipped")
    (job,) = next_jobs()
    assert (job.data["user_id"], seeded["user_id"] != 77) == (77, True)


def test_what_rests_while_the_player_is_offline_is_asked_at_a_tenth_and_at_once_when_the_player_is_back(
    refresh: Refresh, sandbox: SandboxServer, advance: Advance
) -> None:
    offline = {"online": False, "last_login": LONG_AGO, "last_logout": LONG_AGO, "logins": 3}
    sandbox.fail("/characters/*/online", 200, body=offline)
    for route in (ONLINE, LOCATION, SHIP, WALLET):
        refresh(route, requested_by="user")
    assert 3_000 <= due_in_seconds(next_jobs(LOCATION)[0]) < 3_040
    assert 600 <= due_in_seconds(next_jobs(WALLET)[0]) < 665
    # What was stored before is not known to be offline yet.
    assert 300 <= due_in_seconds(next_jobs(ONLINE)[0]) < 335
    advance(400)
    sandbox.fail("/characters/*/online", 200, body=offline | {"logins": 4})
    refresh(ONLINE, requested_by="schedule")
    assert 3_000 <= due_in_seconds(next_jobs(ONLINE)[0]) < 3_040
    advance(3_100)
    sandbox.fail("/characters/*/online", 200, body={"online": True, "last_login": LONG_AGO, "logins": 5})
    refresh(ONLINE, requested_by="schedule")
    for route in (LOCATION, SHIP):
        assert (next_jobs(route), len(next_jobs(route, state="waiting"))) == ([], 1)
    refresh(LOCATION, requested_by="schedule")
    assert 300 <= due_in_seconds(next_jobs(LOCATION)[0]) < 335


def test_a_copy_that_is_wrong_is_repaired_by_asking_without_its_etag(
    refresh: Refresh, services: Services, seeded: dict[str, Any], advance: Advance
) -> None:
    refresh(ATTRIBUTES)
    right = services.store.documents.body(seeded["character_id"], ATTRIBUTES)
    with services.store.database.write() as connection:
        connection.execute(sa.update(schema.documents).values(body_json=b"{}"))
    advance(3_700)
    assert refresh(ATTRIBUTES).outcome == "not_modified"
    # Only a user's explicit request leaves the ETag out, which CCP wants.
    assert refresh(ATTRIBUTES, skip_cache=True, requested_by="operator").outcome == "fresh"
    advance(130)
    assert refresh(ATTRIBUTES, skip_cache=True, requested_by="operator").outcome == "not_modified"
    advance(130)
    assert refresh(ATTRIBUTES, skip_cache=True, requested_by="user").outcome == "updated"
    assert services.store.documents.body(seeded["character_id"], ATTRIBUTES) == right


def test_a_response_whose_freshness_became_shorter_is_still_newer(
    refresh: Refresh, services: Services, seeded: dict[str, Any], sandbox: SandboxServer, advance: Advance
) -> None:
    refresh(WALLET)
    advance(700)
    sandbox.fail("/characters/*/wallet", 200, body=77.0, headers={"Cache-Control": "max-age=1"})
    assert refresh(WALLET).outcome == "updated"
    assert services.store.documents.body(seeded["character_id"], WALLET) == 77.0


def test_a_response_from_a_host_that_is_behind_replaces_nothing_but_is_not_asked_for_again_at_once(
    refresh: Refresh, services: Services, seeded: dict[str, Any], sandbox: SandboxServer, advance: Advance
) -> None:
    refresh(WALLET)
    before = services.store.documents.body(seeded["character_id"], WALLET)
    advance(700)
    stale = {"Last-Modified": "Sat, 31 Oct 2026 00:00:00 GMT", "Cache-Control": "max-age=120"}
    sandbox.fail("/characters/*/wallet", 200, body=77.0, headers=stale)
    refresh(WALLET)
    assert services.store.documents.body(seeded["character_id"], WALLET) == before
    advance(30)
    assert refresh(WALLET, skip_cache=True).outcome == "fresh"


def test_a_refresh_that_changes_nothing_reads_and_writes_once_and_touches_no_document(
    refresh: Refresh, services: Services, advance: Advance
) -> None:
    refresh(WALLET, requested_by="user")
    advance(700)
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sa.event.listen(services.store.database.engine, "before_cursor_execute", note)
    try:
        assert refresh(WALLET, requested_by="schedule").outcome == "not_modified"
    finally:
        sa.event.remove(services.store.database.engine, "before_cursor_execute", note)
    begun = [each for each in statements if each.startswith("BEGIN")]
    assert len(begun) <= 2
    assert not [each for each in statements if "body_json" in each]
