"""The limiter on a real Redis: buckets, the old error limit, concurrency, and brakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import redis

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, NotSent
from nomad_actors.esi.limits import DOWNTIME_MS, Limiter, Outcome, flight, outcome_of
from nomad_actors.esi.limits.brakes import Brake, down
from nomad_actors.esi.limits.keys import BASE, KEYS
from nomad_actors.esi.limits.limiter import HOLD_MS

from .calls import ALL_OK, NOTIFICATIONS, ORDERS, WALLET, named, refused, send


@pytest.fixture
def clock() -> ManualClock:
    """2026-11-01T12:00:00Z, after the downtime."""
    return ManualClock(1_793_534_400_000)


def test_the_bucket_of_one_character_has_room_for_its_tokens_and_no_more(limiter: Limiter) -> None:
    # 15 tokens, of which users alone may take the last fifth.
    for _ in range(4):
        send(limiter, NOTIFICATIONS)
    assert refused(limiter, NOTIFICATIONS).cause == "bucket:char-notification:app:7"
    send(limiter, NOTIFICATIONS, for_user=True)
    send(limiter, NOTIFICATIONS, for_user=True)
    assert refused(limiter, NOTIFICATIONS, for_user=True).cause.startswith("bucket:")
    send(limiter, NOTIFICATIONS, character_id=8)
    send(limiter, WALLET)


def test_tokens_return_one_window_after_they_were_spent(limiter: Limiter, clock: ManualClock) -> None:
    send(limiter, NOTIFICATIONS, Outcome(spent=5))
    clock.advance(seconds=600)
    send(limiter, NOTIFICATIONS, Outcome(spent=5))
    waits = refused(limiter, NOTIFICATIONS).retry_after_seconds
    # The first five return after 900 s and at most a slot (15 s); nothing more is needed.
    assert 300 <= waits <= 300 + 2 * 15
    clock.advance(seconds=waits - 16)
    refused(limiter, NOTIFICATIONS)
    clock.advance(seconds=16)
    send(limiter, NOTIFICATIONS)


def test_what_is_under_way_counts_with_the_worst_until_it_is_settled(limiter: Limiter) -> None:
    reservations = [limiter.reserve(NOTIFICATIONS, 7, for_user=True) for _ in range(3)]
    refused(limiter, NOTIFICATIONS, for_user=True)
    limiter.settle(reservations[0], Outcome(spent=0))
    limiter.reserve(NOTIFICATIONS, 7, for_user=True)


def test_a_repeated_settling_changes_nothing(limiter: Limiter) -> None:
    reservation = limiter.reserve(NOTIFICATIONS, 7)
    for _ in range(5):
        limiter.settle(reservation, Outcome(spent=5))
    send(limiter, NOTIFICATIONS)


def test_the_request_of_a_process_that_died_counts_as_the_worst(limiter: Limiter, clock: ManualClock) -> None:
    for _ in range(3):
        limiter.reserve(NOTIFICATIONS, 7, for_user=True)
    clock.advance(seconds=HOLD_MS / 1000 + 1)
    refused(limiter, NOTIFICATIONS, for_user=True)
    assert limiter.state().under_way == 0
    clock.advance(seconds=930)
    send(limiter, NOTIFICATIONS)


def test_esis_own_count_of_a_bucket_is_believed_if_it_is_lower(limiter: Limiter) -> None:
    send(limiter, NOTIFICATIONS, Outcome(spent=1, remaining=4))
    refused(limiter, NOTIFICATIONS)
    send(limiter, WALLET, Outcome(spent=1, remaining=149))
    send(limiter, WALLET)


def test_a_group_that_esi_names_is_learnt_by_every_process(
    make_limiter: Callable[..., Limiter], limiter: Limiter
) -> None:
    send(limiter, ORDERS, named("char-market", "10/1h", spent=0))
    for each in (limiter, make_limiter()):
        reservation = each.reserve(ORDERS, 7)
        assert reservation.bucket == "char-market:app:7"
        refused(each, ORDERS)
        each.settle(reservation, Outcome(spent=0))


@pytest.mark.parametrize("limit", ["", "0/15m", "15", "15/0m", "many/15m", "15/15y"])
def test_a_limit_that_cannot_be_read_teaches_nothing(limiter: Limiter, limit: str) -> None:
    send(limiter, ORDERS, named("odd", limit))
    assert limiter.reserve(ORDERS, 7).bucket is None


def test_the_error_limit_is_closed_with_twenty_errors_left(limiter: Limiter, clock: ManualClock) -> None:
    send(limiter, ORDERS, Outcome(spent=0, is_error=True, error_remaining=20, error_reset_ms=40_000))
    waiting = refused(limiter, ORDERS, for_user=True)
    assert waiting.cause == "errors"
    assert 40 <= waiting.retry_after_seconds <= 50
    # Routes with a rate group have their own limit.
    send(limiter, WALLET)
    clock.advance(seconds=41)
    send(limiter, ORDERS)


def test_below_half_of_the_error_limit_requests_are_spaced_out(limiter: Limiter, clock: ManualClock) -> None:
    send(limiter, ORDERS, Outcome(spent=0, is_error=True, error_remaining=40, error_reset_ms=60_000))
    send(limiter, ORDERS)
    # 20 errors until it is closed, 60 s until it is reset.
    waits = [refused(limiter, ORDERS).retry_after_seconds for _ in range(3)]
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(3, abs=0.1)
    clock.advance(seconds=61)
    send(limiter, ORDERS)


def test_errors_are_counted_where_esi_does_not_count_them(limiter: Limiter) -> None:
    for _ in range(50):
        send(limiter, ORDERS, Outcome(spent=0, is_error=True))
    assert limiter.state().errors_remaining == 50


def test_requests_under_way_may_all_become_errors(make_limiter: Callable[..., Limiter]) -> None:
    limiter = make_limiter(concurrency=1000)
    for number in range(51):
        limiter.reserve(ORDERS, number)
    # From here on they are spaced out, and end when 20 errors would be left.
    limiter.reserve(ORDERS, 51)
    assert refused(limiter, ORDERS).cause == "errors"


def test_the_fleets_concurrency_is_kept_and_no_route_takes_all_of_it(make_limiter: Callable[..., Limiter]) -> None:
    limiter = make_limiter(concurrency=20)
    for number in range(5):
        limiter.reserve(WALLET, number)
    assert refused(limiter, WALLET, 99).cause == "concurrency:esi:wallet"
    names = [name for name in ROUTES if ROUTES[name].rate_group and ROUTES[name] is not WALLET]
    for number in range(11):
        limiter.reserve(ROUTES[names[number % 8]], number)
    waits = [refused(limiter, ROUTES[names[9]], 99).retry_after_seconds for _ in range(100)]
    # They come back one after another, at the rate at which requests end.
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] == pytest.approx(99 * 0.25 / 16, rel=0.1)
    limiter.reserve(ROUTES[names[9]], 99, for_user=True)


def test_a_420_stops_everything_until_the_error_limit_is_reset_and_then_starts_slowly(
    make_limiter: Callable[..., Limiter], limiter: Limiter, clock: ManualClock
) -> None:
    headers = {"X-ESI-Error-Limit-Remain": "0", "X-ESI-Error-Limit-Reset": "45"}
    send(limiter, ORDERS, outcome_of(420, headers, limited="bucket:x", reason="ESI answered 420"))
    for each in (limiter, make_limiter()):
        for route in (WALLET, ORDERS, NOTIFICATIONS):
            waiting = refused(each, route, for_user=True)
            assert waiting.cause == "esi"
            assert 46 <= waiting.retry_after_seconds <= 46 * 2
    (brake,) = limiter.state().brakes
    assert (brake.kind, brake.reason, brake.until_ms) == ("error limit", "ESI answered 420", clock.now_ms() + 46_000)
    clock.advance(seconds=46)
    probe = limiter.reserve(WALLET, 7)
    assert probe.is_probe
    refused(limiter, WALLET, 8)
    limiter.lift("esi")
    limiter.settle(probe, ALL_OK)
    assert limiter.state().brakes == []
    limiter.reserve(WALLET, 1)
    assert refused(limiter, NOTIFICATIONS).cause == "concurrency:esi"
    clock.advance(seconds=46)
    for number in range(5):
        limiter.reserve(NOTIFICATIONS, number)


def test_a_429_stops_its_bucket_alone(limiter: Limiter, clock: ManualClock) -> None:
    bucket = limiter.reserve(WALLET, 7).bucket
    send(limiter, WALLET, outcome_of(429, {"Retry-After": "30"}, limited=f"bucket:{bucket}", reason="ESI answered 429"))
    assert refused(limiter, WALLET).retry_after_seconds == 31
    send(limiter, WALLET, character_id=8)
    send(limiter, NOTIFICATIONS)
    clock.advance(seconds=31)
    send(limiter, WALLET)


def test_a_429_without_headers_waits_a_minute_and_doubles(limiter: Limiter, clock: ManualClock) -> None:
    for expected in (60, 120, 240, 480, 900, 900):
        reservation = limiter.reserve(WALLET, 7)
        limiter.settle(reservation, outcome_of(429, {}, limited=reservation.limited, reason="429"))
        assert refused(limiter, WALLET).retry_after_seconds == expected
        clock.advance(seconds=expected)
    send(limiter, WALLET)
    reservation = limiter.reserve(WALLET, 7)
    limiter.settle(reservation, outcome_of(429, {}, limited=reservation.limited, reason="429"))
    assert refused(limiter, WALLET).retry_after_seconds == 60


def test_a_429_of_a_route_without_a_rate_group_stops_that_route(limiter: Limiter) -> None:
    reservation = limiter.reserve(ORDERS, 7)
    limiter.settle(reservation, outcome_of(429, {}, limited=reservation.limited, reason="429"))
    for character_id in (7, 8):
        assert refused(limiter, ORDERS, character_id).cause == f"route:{ORDERS.name}"
    send(limiter, WALLET)


def test_while_esi_is_down_one_probe_goes_at_a_time(
    make_limiter: Callable[..., Limiter], limiter: Limiter, clock: ManualClock
) -> None:
    under_way = [limiter.reserve(WALLET, number) for number in range(4)]
    for each in under_way:
        # All that were under way fail; that is one failure.
        limiter.settle(each, outcome_of(503, {}, limited="bucket:x", reason="ESI answered 503"))
    for wait in (5, 10, 20, 40, 60, 60):
        assert refused(limiter, ORDERS).retry_after_seconds >= wait
        clock.advance(seconds=wait)
        probe = limiter.reserve(WALLET, 7)
        assert probe.is_probe
        assert refused(make_limiter(), NOTIFICATIONS).retry_after_seconds >= 10
        limiter.settle(probe, Outcome(spent=0, brake=down("still 503")))
    clock.advance(seconds=60)
    assert limiter.reserve(WALLET, 7).is_probe
    # Its process dies: another may probe.
    clock.advance(seconds=HOLD_MS / 1000)
    probe = limiter.reserve(WALLET, 7)
    assert probe.is_probe
    limiter.lift("esi")
    limiter.settle(probe, ALL_OK)
    assert not limiter.reserve(WALLET, 8).is_probe


def test_the_daily_downtime_stops_everything_until_a_probe_succeeds(
    decoding_redis: redis.Redis, make_limiter: Callable[..., Limiter]
) -> None:
    clock = ManualClock(1_793_534_400_000 - 3_601_000)
    limiter = Limiter(decoding_redis, clock=clock, application="app", downtime_ms=DOWNTIME_MS)
    send(limiter, WALLET)
    clock.advance(seconds=2)
    waiting = refused(limiter, WALLET, for_user=True)
    assert waiting.retry_after_seconds >= 298
    assert "downtime" in str(waiting)
    clock.advance(seconds=300)
    probe = limiter.reserve(WALLET, 7)
    assert probe.is_probe
    limiter.lift("esi")
    limiter.settle(probe, ALL_OK)
    send(limiter, WALLET)
    clock.advance(seconds=86_400 - 300)
    refused(limiter, WALLET)


def test_without_a_downtime_eleven_oclock_is_like_any_time(
    decoding_redis: redis.Redis, limiter: Limiter, clock: ManualClock
) -> None:
    clock.advance(seconds=86_400 - 3_600)
    send(limiter, WALLET)


def test_a_route_that_fails_for_many_characters_is_stopped_alone(limiter: Limiter, clock: ManualClock) -> None:
    failed = outcome_of(404, {}, limited="bucket:x", reason="ESI answered 404")
    for number in range(4):
        send(limiter, WALLET, failed, character_id=number)
        send(limiter, WALLET, failed, character_id=number)
    send(limiter, WALLET, character_id=9)
    for number in range(5):
        send(limiter, WALLET, failed, character_id=number)
    assert refused(limiter, WALLET, 99).cause == "route:/characters/{character_id}/wallet"
    send(limiter, NOTIFICATIONS)
    clock.advance(seconds=120)
    send(limiter, WALLET, failed, character_id=3)
    assert refused(limiter, WALLET, 99).retry_after_seconds >= 240
    clock.advance(seconds=240)
    probe = limiter.reserve(WALLET, 7)
    assert not probe.is_probe, "a route is probed by its own request, not by /status"
    refused(limiter, WALLET, 8)
    limiter.settle(probe, ALL_OK)
    send(limiter, WALLET, character_id=8)
    assert limiter.state().brakes == []


def test_four_requests_to_sso_at_most_are_under_way(limiter: Limiter, clock: ManualClock) -> None:
    reservations = [limiter.reserve_sso() for _ in range(4)]
    with pytest.raises(NotSent, match="concurrency:sso"):
        limiter.reserve_sso()
    limiter.settle(reservations[0], Outcome(spent=0, ok=True))
    limiter.settle(limiter.reserve_sso(), Outcome(spent=0, brake=Brake(name="sso", kind="down", reason="x", for_ms=9)))
    with pytest.raises(NotSent):
        limiter.reserve_sso()
    send(limiter, WALLET)


@pytest.mark.parametrize(
    ("status", "headers", "at_most_seconds"),
    [
        (420, {"X-ESI-Error-Limit-Reset": "999999999"}, 120),
        (429, {"Retry-After": "999999999"}, 3_600),
        (503, {"Retry-After": "999999999"}, 900),
        (503, {"Date": "Sun, 01 Nov 2026 12:00:00 GMT", "Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 900),
        (403, {"X-ESI-Error-Limit-Remain": "5", "X-ESI-Error-Limit-Reset": "999999999"}, 61),
    ],
)
def test_no_header_stops_requests_for_long(
    limiter: Limiter, clock: ManualClock, status: int, headers: dict[str, str], at_most_seconds: int
) -> None:
    reservation = limiter.reserve(ORDERS, 7)
    limiter.settle(reservation, outcome_of(status, headers, limited=reservation.limited, reason="r"))
    refused(limiter, ORDERS)
    clock.advance(seconds=at_most_seconds)
    limiter.reserve(ORDERS, 7)


def test_a_503_that_says_to_retry_at_once_is_left_alone_for_a_while(limiter: Limiter) -> None:
    send(limiter, WALLET, outcome_of(503, {"Retry-After": "0"}, limited="bucket:x", reason="r"))
    assert refused(limiter, WALLET).retry_after_seconds >= 5


@pytest.mark.parametrize("limit", ["15/99999d", "15/1s"])
def test_a_window_that_cannot_be_true_is_not_learnt(limiter: Limiter, limit: str) -> None:
    send(limiter, ORDERS, named("odd", limit))
    assert limiter.reserve(ORDERS, 7).bucket is None


def test_a_bucket_smaller_than_one_request_has_room_for_one(limiter: Limiter) -> None:
    send(limiter, ORDERS, named("tiny", "4/15m", spent=0))
    send(limiter, ORDERS, Outcome(spent=4))
    refused(limiter, ORDERS)


def test_many_refused_jobs_do_not_push_the_next_ones_hours_away(
    make_limiter: Callable[..., Limiter], clock: ManualClock
) -> None:
    limiter = make_limiter()
    send(limiter, ORDERS, Outcome(spent=0, is_error=True, error_remaining=24, error_reset_ms=50_000))
    waits = [refused_or_sent(limiter) for _ in range(500)]
    assert max(waits) <= 51
    clock.advance(seconds=51)
    send(limiter, ORDERS)


def refused_or_sent(limiter: Limiter) -> float:
    try:
        limiter.settle(limiter.reserve(ORDERS, 7), ALL_OK)
    except NotSent as error:
        return error.retry_after_seconds
    return 0.0


def test_a_clock_that_goes_back_blocks_no_bucket_and_no_brake(
    decoding_redis: redis.Redis, make_limiter: Callable[..., Limiter], clock: ManualClock
) -> None:
    limiter = make_limiter()
    send(limiter, NOTIFICATIONS)
    limiter.brake(Brake(name="esi", kind="down", reason="r", for_ms=600_000))
    earlier = ManualClock(clock.now_ms() - 7_200_000)
    behind = Limiter(decoding_redis, clock=earlier, application="app")
    send(behind, NOTIFICATIONS, Outcome(spent=10))
    refused(behind, NOTIFICATIONS)
    earlier.advance(seconds=930)
    send(behind, NOTIFICATIONS)


def test_a_429_that_comes_after_its_request_was_given_up_still_counts(limiter: Limiter, clock: ManualClock) -> None:
    reservation = limiter.reserve(WALLET, 7)
    clock.advance(seconds=HOLD_MS / 1000 + 1)
    send(limiter, NOTIFICATIONS)
    limiter.settle(reservation, outcome_of(420, {}, limited=reservation.limited, reason="half a pair: \ud800"))
    refused(limiter, WALLET)


def test_a_rejected_character_is_asked_less_and_less_often(limiter: Limiter, clock: ManualClock) -> None:
    rejected = Brake(name="character:7", kind="rejected", reason="401", base_ms=600_000, max_ms=86_400_000, probes=True)
    for wait in (600, 1_200, 2_400):
        reservation = limiter.reserve(WALLET, 7)
        limiter.settle(reservation, outcome_of(401, {}, limited=reservation.limited, reason="401"))
        limiter.brake(rejected)
        assert refused(limiter, WALLET).retry_after_seconds >= wait
        send(limiter, WALLET, character_id=8)
        clock.advance(seconds=wait)
    send(limiter, WALLET)
    assert limiter.state().brakes == []


def test_every_key_is_in_the_table_and_every_row_is_used(
    limiter: Limiter, decoding_redis: redis.Redis, clock: ManualClock
) -> None:
    send(limiter, ORDERS, named("g", "20/15m", remaining=1))
    send(limiter, dataclasses.replace(ORDERS, name="other"), outcome_of(500, {}, limited="bucket:x", reason="r"))
    for _ in range(3):
        limiter.reserve(NOTIFICATIONS, 7, for_user=True)
    refused(limiter, NOTIFICATIONS)
    for number in range(8):
        limiter.reserve(WALLET, number)
    refused(limiter, WALLET)
    limiter.brake(Brake(name="esi", kind="down", reason="r", for_ms=1000, probes=True))
    limiter.lift("esi")
    limiter.brake(Brake(name="esi", kind="down", reason="r", for_ms=1000, probes=True))
    refused(limiter, WALLET)
    patterns = {name: f"{BASE}:{row.suffix.removesuffix('{}')}" for name, row in KEYS.items()}
    used = set()
    with flight(limiter, WALLET, 7, owner="job"):
        types = {key: decoding_redis.type(key) for key in decoding_redis.scan_iter()}
    for key, kind in types.items():
        names = [name for name, start in patterns.items() if key == start or key.startswith(start)]
        names = [name for name in names if key == patterns[name] or "{}" in KEYS[name].suffix]
        assert len(names) == 1, key
        assert kind == KEYS[names[0]].type
        used.add(names[0])
    # These are not the limiter's: SSO's keys, and tokens that the database missed.
    assert used == set(KEYS) - {"jwks", "jwks_asked", "unsaved", "doubtful", "status", "spec_check"}
