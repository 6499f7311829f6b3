"""What ESI says about its rate groups replaces what we knew: for the response at hand, all routes and all processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.limits.keys import key
from nomad_actors.esi.limits.rate_groups import RateGroups

from .calls import NOTIFICATIONS, ORDERS, WALLET, named, refused, send

JOURNAL = ROUTES["/characters/{character_id}/wallet/journal"]
PUBLIC = ROUTES["/characters/{character_id}"]


def used(limiter: Limiter, name: str, decoding_redis: redis.Redis) -> int:
    return int(decoding_redis.hget(key("bucket", name), "used") or 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit", "remaining"), [("300/15m", 298), ("100/15m", 98), ("150/15m", 148)])
def test_a_changed_limit_makes_no_tokens_spent_that_nobody_spent(
    limiter: Limiter, decoding_redis: redis.Redis, limit: str, remaining: int
) -> None:
    # We reserve by the documented 150; ESI's own count is by its limit of today.
    send(limiter, WALLET, named("char-wallet", limit, spent=2, remaining=remaining))
    assert used(limiter, "char-wallet:app:7", decoding_redis) == 2


def test_a_smaller_limit_of_a_known_group_is_kept_on_all_its_routes_by_all_processes(
    make_limiter: Callable[..., Limiter], limiter: Limiter
) -> None:
    send(limiter, WALLET, named("char-wallet", "20/15m", spent=2, remaining=18))
    for each in (limiter, make_limiter()):
        reservation = each.reserve(JOURNAL, 7)
        assert reservation.group is not None
        assert (reservation.group.name, reservation.group.tokens) == ("char-wallet", 20)
        # A fifth is for users; 2 are spent, 5 and 5 are held.
        second = each.reserve(JOURNAL, 7)
        refused(each, WALLET)
        for under_way in (reservation, second):
            each.settle(under_way, named("char-wallet", "20/15m", spent=0))


def test_a_changed_window_is_kept(limiter: Limiter, clock: ManualClock) -> None:
    send(limiter, NOTIFICATIONS, named("char-notification", "15/1h", spent=5, remaining=10))
    send(limiter, NOTIFICATIONS, named("char-notification", "15/1h", spent=5, remaining=5))
    clock.advance(seconds=930)
    refused(limiter, NOTIFICATIONS)
    clock.advance(seconds=3_600 - 930 + 61)
    send(limiter, NOTIFICATIONS)


def test_a_route_that_moves_to_another_group_counts_there_and_is_held_nowhere_else(
    limiter: Limiter, decoding_redis: redis.Redis
) -> None:
    send(limiter, WALLET, named("char-new", "40/15m", spent=3, remaining=37))
    assert used(limiter, "char-new:app:7", decoding_redis) == 3
    assert decoding_redis.hmget(key("bucket", "char-wallet:app:7"), "used", "held") == ["0", "0"]
    assert limiter.reserve(WALLET, 7).bucket == "char-new:app:7"
    assert limiter.reserve(JOURNAL, 7).bucket == "char-wallet:app:7"


def test_a_route_that_had_no_group_counts_at_once_in_the_one_that_esi_names(
    limiter: Limiter, decoding_redis: redis.Redis
) -> None:
    send(limiter, ORDERS, named("char-market", "30/15m", spent=2, remaining=28))
    assert used(limiter, "char-market:app:7", decoding_redis) == 2


def test_a_public_routes_bucket_is_that_of_our_address(limiter: Limiter) -> None:
    # CCP counts requests without a token by address, whatever character they are about.
    for number in range(2):
        send(limiter, PUBLIC, named("public", "15/15m", spent=5), character_id=number)
    assert refused(limiter, PUBLIC, 9).cause == "bucket:public:app:address"


@pytest.mark.parametrize(
    ("group", "limit"),
    [
        ("", "15/15m"),
        ("x" * 101, "15/15m"),
        ("a b", "15/15m"),
        ("a:b", "15/15m"),
        ("a\nb", "15/15m"),
        ("odd", "999999999/15m"),
        ("odd", "0/15m"),
        ("odd", "15/1s"),
        ("odd", "15/99999d"),
    ],
)
def test_a_group_or_limit_that_cannot_be_true_changes_nothing(
    limiter: Limiter, decoding_redis: redis.Redis, group: str, limit: str
) -> None:
    send(limiter, WALLET, named(group, limit, spent=2))
    assert limiter.reserve(WALLET, 7).bucket == "char-wallet:app:7"
    assert decoding_redis.exists(key("groups"), key("routes")) == 0


def test_names_that_change_with_every_response_do_not_fill_redis(limiter: Limiter, decoding_redis: redis.Redis) -> None:
    for number in range(250):
        send(limiter, WALLET, named(f"group-{number}", "150/15m", spent=0))
    assert decoding_redis.hlen(key("groups")) <= 200


def test_what_another_release_or_a_person_left_there_stops_nothing(
    decoding_redis: redis.Redis, limiter: Limiter
) -> None:
    broken = {
        "char-wallet": "odd",
        "/characters/{character_id}/wallet": "15 900000 g",
        "a": "",
        "b": "-1 5",
        "c": "² ²",
    }
    decoding_redis.hset(key("groups"), mapping=broken)
    reservation = limiter.reserve(WALLET, 7)
    assert reservation.group is not None
    assert reservation.group.tokens == 150


def test_what_was_learnt_can_be_forgotten(limiter: Limiter, decoding_redis: redis.Redis) -> None:
    send(limiter, ORDERS, named("char-market", "30/15m", spent=2))
    send(limiter, WALLET, named("char-wallet", "30/15m", spent=2))
    assert limiter.forget_groups() == ["char-market", "char-wallet"]
    assert limiter.reserve(ORDERS, 7).bucket is None
    assert RateGroups(decoding_redis).of(WALLET) == limiter.reserve(WALLET, 7).group
    assert limiter.forget_groups() == []


def test_buckets_are_shown_by_their_use(limiter: Limiter) -> None:
    send(limiter, NOTIFICATIONS, named("char-notification", "15/15m", spent=9))
    send(limiter, WALLET, named("char-wallet", "150/15m", spent=140), character_id=8)
    send(limiter, WALLET, named("char-wallet", "150/15m", spent=2))
    shown = [(each.name, each.used, each.limit) for each in limiter.state().busy]
    assert shown == [("char-wallet:app:8", 140, 150), ("char-notification:app:7", 9, 15)]
