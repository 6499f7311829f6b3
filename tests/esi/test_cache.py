"""The cache separates documents, lets them expire, and cleans only itself."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, EsiCache, EsiResponse
from nomad_actors.esi.cache import STEP, TTL_SECONDS, CleanReport

WALLET = ROUTES["/characters/{character_id}/wallet"]
SKILLS = ROUTES["/characters/{character_id}/skills"]
PREFIX = "nomad-esi:"
DAY = 86_400
#: Other keys in the same Redis, which the cache must not touch; each could match by mistake.
OTHERS = (
    "esi:characters:1:wallet",
    "characters:1:wallet",
    "nomad-esi",
    "nomad-esj:characters:1:wallet",
    "lru",
    "dramatiq:q",
)


@pytest.fixture
def cache(redis_client: redis.Redis, clock: ManualClock) -> EsiCache:
    """A cache in a Redis that others use too."""
    for key in OTHERS:
        redis_client.set(key, "not the cache's")
    return EsiCache(redis_client, clock=clock)


def response(clock: ManualClock, body: Any = 1.5, *, fresh_seconds: int = 120) -> EsiResponse:
    return EsiResponse(
        status=200,
        not_modified=False,
        body=body,
        etag='"e"',
        last_modified=None,
        fresh_until_ms=clock.now_ms() + fresh_seconds * 1000,
        pages=1,
        request_id=None,
    )


def fill(cache: EsiCache, clock: ManualClock, count: int) -> None:
    """Put one document for each of `count` characters, one second apart."""
    for character_id in range(1, count + 1):
        cache.put(character_id, WALLET, response(clock))
        clock.advance(seconds=1)


def cached_keys(client: redis.Redis) -> set[str]:
    names = {key.decode().removeprefix(PREFIX) for key in client.scan_iter(f"{PREFIX}*")} - {"lru"}
    assert all(client.exists(other) for other in OTHERS), "the cache removed what is not its own"
    return names


def indexed(client: redis.Redis) -> set[str]:
    return {name.decode() for name in client.zrange(f"{PREFIX}lru", 0, -1)}


def wallets(*character_ids: int) -> set[str]:
    return {f"characters:{character_id}:wallet" for character_id in character_ids}


def test_a_document_belongs_to_one_character(cache: EsiCache, clock: ManualClock) -> None:
    cache.put(1, WALLET, response(clock, 1.5))
    cache.put(2, WALLET, response(clock, [{"é": "ü"}]))
    document = cache.get(1, WALLET)
    assert document is not None
    assert (document.body, document.etag, document.fresh_until_ms) == (1.5, '"e"', clock.now_ms() + 120_000)
    other = cache.get(2, WALLET)
    assert other is not None
    assert other.body == [{"é": "ü"}]
    assert cache.get(3, WALLET) is None
    assert cache.get(1, SKILLS) is None


def test_a_stale_document_is_still_returned(cache: EsiCache, clock: ManualClock) -> None:
    fill(cache, clock, 1)
    clock.advance(seconds=3 * DAY)
    assert cache.get(1, WALLET) is not None


def test_every_key_expires(cache: EsiCache, clock: ManualClock, redis_client: redis.Redis) -> None:
    fill(cache, clock, 2)
    cache.get(1, WALLET)
    keys = list(redis_client.scan_iter(f"{PREFIX}*"))
    assert len(keys) == 3
    assert all(0 < redis_client.ttl(key) <= TTL_SECONDS for key in keys)


def test_reading_does_not_restore_an_expired_document_to_the_index(
    cache: EsiCache, clock: ManualClock, redis_client: redis.Redis
) -> None:
    fill(cache, clock, 1)
    redis_client.delete(f"{PREFIX}lru")
    cache.get(1, WALLET)
    assert indexed(redis_client) == set()


def test_a_304_cannot_be_cached(cache: EsiCache, clock: ManualClock) -> None:
    fill(cache, clock, 1)
    with pytest.raises(ValueError, match="304"):
        cache.put(1, WALLET, EsiResponse(304, True, None, None, None, 0, 1, None))
    assert cache.get(1, WALLET) is not None


@pytest.mark.parametrize("rubbish", ["", "not json", "[]", "{}", '"text"'])
def test_an_invalid_document_is_ignored(cache: EsiCache, redis_client: redis.Redis, rubbish: str) -> None:
    redis_client.set(f"{PREFIX}characters:1:wallet", rubbish)
    assert cache.get(1, WALLET) is None


def test_documents_and_their_bytes_are_counted(cache: EsiCache, clock: ManualClock, redis_client: redis.Redis) -> None:
    assert cache.clean_lru(0, dry_run=True) == CleanReport(0, 0)
    fill(cache, clock, 3)
    length = int(redis_client.strlen(f"{PREFIX}characters:1:wallet"))
    assert cache.clean_lru(0, dry_run=True) == CleanReport(3, 3 * length)


def test_expired_removes_what_has_been_stale_for_a_day(
    cache: EsiCache, clock: ManualClock, redis_client: redis.Redis
) -> None:
    cache.put(1, WALLET, response(clock, fresh_seconds=120))
    cache.put(2, WALLET, response(clock, fresh_seconds=3_600))
    clock.advance(seconds=DAY + 121)
    assert cache.clean_expired(dry_run=True).keys == 1
    report = cache.clean_expired(dry_run=False)
    assert (report.keys, report.bytes > 0) == (1, True)
    assert cached_keys(redis_client) == indexed(redis_client) == wallets(2)
    assert cache.clean_expired(dry_run=False, older_than_seconds=60).keys == 1


def test_expired_removes_orphans_of_both_kinds(cache: EsiCache, clock: ManualClock, redis_client: redis.Redis) -> None:
    fill(cache, clock, 3)
    redis_client.zrem(f"{PREFIX}lru", "characters:1:wallet")
    redis_client.delete(f"{PREFIX}characters:2:wallet")
    assert cache.clean_expired(dry_run=True).keys == 1
    assert indexed(redis_client) == wallets(2, 3)
    assert cache.clean_expired(dry_run=False).keys == 1
    assert cached_keys(redis_client) == indexed(redis_client) == wallets(3)


def test_expired_removes_rubbish(cache: EsiCache, clock: ManualClock, redis_client: redis.Redis) -> None:
    fill(cache, clock, 1)
    redis_client.set(f"{PREFIX}characters:1:wallet", "rubbish")
    assert cache.clean_expired(dry_run=False).keys == 1
    assert cached_keys(redis_client) == set()


@pytest.mark.parametrize("dry_run", [True, False])
def test_lru_removes_the_least_recently_read(
    cache: EsiCache, clock: ManualClock, redis_client: redis.Redis, dry_run: bool
) -> None:
    fill(cache, clock, 5)
    cache.get(1, WALLET)
    assert cache.clean_lru(2, dry_run=dry_run).keys == 3
    assert cached_keys(redis_client) == (wallets(1, 2, 3, 4, 5) if dry_run else wallets(1, 5))


@pytest.mark.parametrize(("max_size", "keys"), [(5, 0), (6, 0), (4, 1), (0, 5)])
def test_lru_keeps_the_requested_number(
    cache: EsiCache, clock: ManualClock, redis_client: redis.Redis, max_size: int, keys: int
) -> None:
    fill(cache, clock, 5)
    assert cache.clean_lru(max_size, dry_run=False).keys == keys
    assert len(cached_keys(redis_client)) == 5 - keys


@pytest.mark.parametrize("dry_run", [True, False])
def test_lru_counts_documents_and_not_the_index(
    cache: EsiCache, clock: ManualClock, redis_client: redis.Redis, dry_run: bool
) -> None:
    fill(cache, clock, 5)
    # 1 is gone, although the index has it as the oldest; documents without an index entry go first.
    redis_client.delete(f"{PREFIX}characters:1:wallet")
    redis_client.zrem(f"{PREFIX}lru", "characters:5:wallet")
    assert cache.clean_lru(2, dry_run=dry_run).keys == 2
    assert cached_keys(redis_client) == (wallets(2, 3, 4, 5) if dry_run else wallets(3, 4))


def test_cleaning_uses_bounded_steps(cache: EsiCache, clock: ManualClock, redis_client: redis.Redis) -> None:
    count = 2 * STEP + 1
    fill(cache, clock, count)
    redis_client.config_resetstat()
    assert cache.clean_expired(dry_run=False).keys == 0
    assert cache.clean_lru(1, dry_run=False).keys == count - 1
    assert cache.clean_all(dry_run=False).keys == 1
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in redis_client.info("commandstats").items()}
    assert calls["unlink"] == 3
    assert not {"keys", "flushdb", "flushall", "del"} & set(calls)


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("esi:characters:*", {1, 2, 12}),
        ("esi:characters:1:*", {1}),
        ("esi:characters:1?:wallet", {12}),
        ("characters:[12]:wallet", {1, 2}),
        ("esi:*", {1, 2, 12}),
        ("*", {1, 2, 12}),
        # Nothing outside the prefix, and not the index.
        ("esi:esi:*", set()),
        ("dramatiq:*", set()),
        ("lru", set()),
        ("esi:lru", set()),
        ("[", set()),
        ("\\", set()),
        ("../*", set()),
    ],
)
def test_a_pattern_matches_only_within_the_caches_prefix(
    cache: EsiCache, clock: ManualClock, redis_client: redis.Redis, pattern: str, gone: set[int]
) -> None:
    for character_id in (1, 2, 12):
        cache.put(character_id, WALLET, response(clock))
    assert cache.clean_pattern(pattern, dry_run=True).keys == len(gone)
    assert cache.clean_pattern(pattern, dry_run=False).keys == len(gone)
    assert cached_keys(redis_client) == indexed(redis_client) == wallets(*({1, 2, 12} - gone))


def test_a_prefix_is_matched_literally(redis_client: redis.Redis, clock: ManualClock) -> None:
    redis_client.set("cache-a:characters:1:wallet", "another's")
    odd = EsiCache(redis_client, clock=clock, prefix="cache-[ab]*:")
    odd.put(1, WALLET, response(clock))
    assert odd.clean_all(dry_run=False).keys == 1
    assert redis_client.exists("cache-a:characters:1:wallet")


def test_clean_all_removes_only_this_cache(cache: EsiCache, clock: ManualClock, redis_client: redis.Redis) -> None:
    fill(cache, clock, 3)
    dry_report = cache.clean_all(dry_run=True)
    assert cached_keys(redis_client) == wallets(1, 2, 3)
    assert cache.clean_all(dry_run=False) == dry_report
    assert cached_keys(redis_client) == indexed(redis_client) == set()


def test_cleaning_an_empty_cache_removes_nothing(cache: EsiCache, redis_client: redis.Redis) -> None:
    for report in (
        cache.clean_expired(dry_run=False),
        cache.clean_lru(0, dry_run=False),
        cache.clean_pattern("esi:*", dry_run=False),
        cache.clean_all(dry_run=False),
    ):
        assert (report.keys, report.bytes) == (0, 0)
    assert cached_keys(redis_client) == set()


def test_a_client_that_decodes_responses_works_too(redis_url: str, clock: ManualClock) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        cache = EsiCache(client, clock=clock)
        fill(cache, clock, 3)
        assert cache.get(1, WALLET) is not None
        assert cache.clean_lru(2, dry_run=False).keys == 1
        clock.advance(seconds=2 * DAY)
        assert cache.clean_expired(dry_run=False).keys == 2
