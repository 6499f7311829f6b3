"""Jobs that may send nothing: asking before any work, coming back one after another, and a Redis that is away."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, NotSent, Route
from nomad_actors.esi.limits import DOWNTIME_MS, Limiter, Outcome, outcome_of
from nomad_actors.esi.limits.brakes import Brake, sso_down, sso_refuses_us
from nomad_actors.metrics.definitions import ESI_NOT_SENT

from .calls import ALL_OK, NOTIFICATIONS, ORDERS, WALLET, refused, send


def checked(limiter: Limiter, route: Route = WALLET, **options: Any) -> NotSent:
    with pytest.raises(NotSent) as caught:
        limiter.check(route, 7, **options)
    return caught.value


def brake(name: str) -> Brake:
    return Brake(name=name, kind="down", reason="it is down", for_ms=60_000)


@pytest.mark.parametrize(
    "name", ["esi", "tokens", "character:7", f"route:{WALLET.name}", "bucket:char-wallet:app:7"], ids=str
)
def test_a_check_names_the_brake_that_would_stop_the_request(limiter: Limiter, clock: ManualClock, name: str) -> None:
    limiter.check(WALLET, 7)
    limiter.brake(brake(name))
    waiting = checked(limiter)
    assert (waiting.cause, "it is down" in str(waiting)) == (name, True)
    assert 60 <= waiting.retry_after_seconds <= 120
    clock.advance(seconds=60)
    limiter.check(WALLET, 7)


def test_a_check_finds_a_closed_error_limit_and_a_bucket_without_room(limiter: Limiter) -> None:
    send(limiter, ORDERS, Outcome(spent=0, is_error=True, error_remaining=20, error_reset_ms=40_000))
    assert checked(limiter, ORDERS).cause == "errors"
    for _ in range(4):
        send(limiter, NOTIFICATIONS)
    assert checked(limiter, NOTIFICATIONS).cause == "bucket:char-notification:app:7"
    limiter.check(NOTIFICATIONS, 7, for_user=True)


def test_a_check_starts_the_daily_downtime(decoding_redis: redis.Redis) -> None:
    clock = ManualClock(1_793_534_400_000 - 3_599_000)
    limiter = Limiter(decoding_redis, clock=clock, application="app", downtime_ms=DOWNTIME_MS)
    assert "downtime" in str(checked(limiter))


def test_a_check_is_one_round_trip_and_reserves_nothing(limiter: Limiter, decoding_redis: redis.Redis) -> None:
    send(limiter, NOTIFICATIONS)
    limiter.check(NOTIFICATIONS, 7)
    before = {name: decoding_redis.dump(name) for name in decoding_redis.scan_iter()}
    calls = commands(decoding_redis)
    for _ in range(50):
        limiter.check(NOTIFICATIONS, 7)
        limiter.check_sso()
    assert commands(decoding_redis) - calls <= 101
    assert {name: decoding_redis.dump(name) for name in decoding_redis.scan_iter()} == before


def commands(client: redis.Redis) -> int:
    """Return how many commands clients have sent; those of scripts do not count."""
    stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval", "script|load"))


def test_a_dead_processs_hold_does_not_stop_checks_for_ever(limiter: Limiter, clock: ManualClock) -> None:
    for _ in range(3):
        limiter.reserve(NOTIFICATIONS, 7, for_user=True)
    checked(limiter, NOTIFICATIONS, for_user=True)
    clock.advance(seconds=61)
    # Counted as spent from now on.
    checked(limiter, NOTIFICATIONS, for_user=True)
    clock.advance(seconds=931)
    limiter.check(NOTIFICATIONS, 7, for_user=True)


def test_a_check_of_sso_asks_for_its_brake_alone(limiter: Limiter) -> None:
    reservations = [limiter.reserve_sso() for _ in range(4)]
    limiter.check_sso()
    limiter.settle(reservations[0], Outcome(spent=0, brake=sso_down("SSO is down", retry_after_seconds=None)))
    with pytest.raises(NotSent, match="SSO is down"):
        limiter.check_sso()
    limiter.check(WALLET, 7)


def test_a_person_may_try_new_settings_while_sso_refuses_the_old_ones(limiter: Limiter, clock: ManualClock) -> None:
    limiter.settle(limiter.reserve_sso(), Outcome(spent=0, brake=sso_refuses_us("check EVE_CLIENT_SECRET")))
    with pytest.raises(NotSent):
        limiter.reserve_sso()
    limiter.settle(limiter.reserve_sso(for_user=True), Outcome(spent=0))
    limiter.lift("sso")
    clock.advance(seconds=60)
    limiter.settle(limiter.reserve_sso(), Outcome(spent=0, brake=sso_down("down", retry_after_seconds=None)))
    with pytest.raises(NotSent):
        limiter.reserve_sso(for_user=True)


def test_everything_that_is_not_sent_is_counted(limiter: Limiter) -> None:
    def count() -> float:
        return ESI_NOT_SENT.labels("esi")._value.get()

    before = count()
    limiter.brake(brake("esi"))
    refused(limiter, WALLET)
    checked(limiter)
    limiter.not_sent("ESI answered 503 for /status", cause="esi", wait_ms=1_000)
    assert count() - before == 3
    assert [each.stopped for each in limiter.state().brakes] == [2]


def test_a_renewed_brake_keeps_its_first_moment_and_says_what_to_do(limiter: Limiter, clock: ManualClock) -> None:
    since_ms = clock.now_ms()
    for _ in range(5):
        limiter.settle(limiter.reserve_sso(), Outcome(spent=0, brake=sso_refuses_us("check EVE_CLIENT_SECRET")))
        (found,) = limiter.state().brakes
        assert (found.name, found.kind, found.since_ms) == ("sso", "refused", since_ms)
        assert "EVE_CLIENT_SECRET" in str(found.remedy)
        clock.advance(seconds=(found.until_ms - clock.now_ms()) / 1000)
    limiter.settle(limiter.reserve_sso(), Outcome(spent=0, ok=True))
    assert limiter.state().brakes == []
    limiter.brake(brake("esi"))
    (later,) = limiter.state().brakes
    assert (later.since_ms, later.remedy) == (clock.now_ms(), None)


def test_a_brake_that_could_not_be_written_is_set_before_anything_else_is_sent(
    redis_url: str, clock: ManualClock, make_limiter: Callable[..., Limiter]
) -> None:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    limiter = Limiter(client, clock=clock, application="app")
    reservation = limiter.reserve(WALLET, 7)
    pool, client.connection_pool = client.connection_pool, redis.ConnectionPool(port=1)
    headers = {"X-ESI-Error-Limit-Remain": "0", "X-ESI-Error-Limit-Reset": "45"}
    limiter.settle(reservation, outcome_of(420, headers, limited=reservation.limited, reason="ESI answered 420"))
    assert refused(limiter, WALLET).cause == "redis"
    clock.advance(seconds=20)
    client.connection_pool = pool
    waiting = refused(limiter, NOTIFICATIONS)
    assert waiting.cause == "esi"
    # It ends when it would have ended, and is everybody's.
    (found,) = make_limiter().state().brakes
    assert found.until_ms - clock.now_ms() == 26_000
    assert limiter.state().under_way == 0
    clock.advance(seconds=26)
    assert limiter.reserve(WALLET, 7).is_probe


def test_a_brake_that_a_job_sets_is_not_lost_either(redis_url: str, clock: ManualClock) -> None:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    limiter = Limiter(client, clock=clock, application="app")
    pool, client.connection_pool = client.connection_pool, redis.ConnectionPool(port=1)
    limiter.brake(brake("character:7"))
    client.connection_pool = pool
    assert checked(limiter).cause == "character:7"
    limiter.check(WALLET, 8)


def test_a_redis_that_lost_everything_is_like_a_new_one(limiter: Limiter, decoding_redis: redis.Redis) -> None:
    reservation = limiter.reserve(WALLET, 7)
    decoding_redis.flushall()
    decoding_redis.script_flush()
    limiter.settle(reservation, outcome_of(503, {}, limited=reservation.limited, reason="ESI answered 503"))
    assert refused(limiter, WALLET).cause == "esi"


LATENCY_MS = 250
_ROUTES = [route for route in ROUTES.values() if route.rate_group]


@pytest.mark.parametrize(
    ("brake_seconds", "jobs"), [(300, 5_000), (30, 1_000), (5, 200)], ids=["downtime", "a 503", "short"]
)
def test_after_a_brake_jobs_come_back_no_faster_than_they_came_and_requests_start_slowly(
    limiter: Limiter, clock: ManualClock, brake_seconds: int, jobs: int
) -> None:
    """Many jobs meet a brake while it lasts; then each comes back when it was told, until its request is sent."""
    limiter.brake(Brake(name="esi", kind="down", reason="r", for_ms=brake_seconds * 1000, probes=True))
    began_ms = clock.now_ms()
    events = [(began_ms + number * brake_seconds * 1000 / jobs, number, None) for number in range(jobs)]
    attempts, sent = _run(limiter, clock, events)
    ends_s = began_ms // 1000 + brake_seconds
    after = {second: count for second, count in attempts.items() if second >= ends_s}
    spread_s = min(brake_seconds, 120)
    assert sum(sent.values()) == jobs
    assert max(after.values()) <= 3 * jobs / spread_s
    # The ramp lets one through at first and reaches everything (25 at a time) at its end.
    ramp_s = min(max(brake_seconds, 5), 60)
    first_s = min(sent)
    for second, count in sent.items():
        under_way = max(1, 25 * min(1, (second - first_s + 2) / ramp_s))
        assert count <= (under_way + 1) * 1000 / LATENCY_MS, (second - first_s, count)
    assert max(sent) - first_s <= 3 * ramp_s + jobs / (25 * 1000 / LATENCY_MS)


def _run(limiter: Limiter, clock: ManualClock, events: list[Any]) -> tuple[Counter[int], Counter[int]]:
    """Run jobs and responses in the order of their times; return the attempts and the requests of each second."""
    attempts, sent = Counter[int](), Counter[int]()
    heapq.heapify(events)
    while events:
        at_ms, number, reservation = heapq.heappop(events)
        clock.advance(seconds=max(at_ms - clock.now_ms(), 0) / 1000)
        if reservation is not None:
            limiter.settle(reservation, ALL_OK)
            continue
        attempts[clock.now_ms() // 1000] += 1
        try:
            # Another character's each, so that no bucket is in the way; routes have their own share.
            reservation = limiter.reserve(_ROUTES[number % len(_ROUTES)], number)
        except NotSent as error:
            heapq.heappush(events, (clock.now_ms() + error.retry_after_seconds * 1000, number, None))
            continue
        if reservation.is_probe:
            limiter.lift("esi")
        sent[clock.now_ms() // 1000] += 1
        heapq.heappush(events, (clock.now_ms() + LATENCY_MS, number, reservation))
    return attempts, sent
