"""A login of a sold character leaves nothing of the old owner in the cache, and ends what stopped the character."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from nomad_actors.characters.saving import save_logins
from nomad_actors.clock import SystemClock
from nomad_actors.errors import Unavailable
from nomad_actors.esi import ROUTES, EsiCache, EsiResponse
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.limits.brakes import rejected
from nomad_actors.store import NewLogin, Store, TokenCipher
from tests.support.databases import new_database

CHARACTER, OTHER = 90000001, 90000002
WALLET = ROUTES["/characters/{character_id}/wallet"]
LOGIN = NewLogin(
    character_id=CHARACTER, user_id=7, name="Ada Voss", owner_hash="seller", scopes=[], refresh_token="a token"
)
BUYER = replace(LOGIN, user_id=8, owner_hash="buyer")
DOCUMENT = EsiResponse(
    status=200,
    not_modified=False,
    body=1.5,
    etag='"e"',
    last_modified=None,
    fresh_until_ms=0,
    pages=1,
    request_id=None,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store on a database of each kind."""
    url = new_database(request, tmp_path / "nomad.db")
    store = Store(url, cipher=TokenCipher(["a key for tests"]), clock=SystemClock())
    yield store
    store.close()


@pytest.fixture
def cache(redis_client: redis.Redis) -> EsiCache:
    """A cache with a document of two characters."""
    cache = EsiCache(redis_client, clock=SystemClock())
    for character_id in (CHARACTER, OTHER):
        cache.put(character_id, WALLET, DOCUMENT)
    return cache


@pytest.fixture
def limiter(redis_url: str) -> Limiter:
    """The fleet's limits."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    return Limiter(client, clock=SystemClock(), application="app")


@pytest.fixture
def no_cache() -> EsiCache:
    """A cache that does not answer."""
    return EsiCache(redis.Redis(port=1), clock=SystemClock())


def test_cached_documents_do_not_survive_a_sale(store: Store, cache: EsiCache, limiter: Limiter) -> None:
    save_logins(store, cache, limiter, [LOGIN, replace(LOGIN, character_id=OTHER)])
    save_logins(store, cache, limiter, [LOGIN])
    assert cache.get(CHARACTER, WALLET) is not None
    (handover,) = save_logins(store, cache, limiter, [BUYER])
    assert (handover.archive_id, cache.get(CHARACTER, WALLET)) == (-1, None)
    assert cache.get(OTHER, WALLET) is not None


def test_a_document_that_a_job_caches_during_the_handover_is_removed_too(
    store: Store, cache: EsiCache, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_logins(store, cache, limiter, [LOGIN])
    save_all = store.logins.save_all

    def save_while_a_job_ends(logins: list[NewLogin]) -> object:
        assert cache.get(CHARACTER, WALLET) is None
        cache.put(CHARACTER, WALLET, DOCUMENT)
        return save_all(logins)

    monkeypatch.setattr(store.logins, "save_all", save_while_a_job_ends)
    save_logins(store, cache, limiter, [BUYER])
    assert cache.get(CHARACTER, WALLET) is None


def test_without_its_cache_a_sold_character_is_not_handed_over_but_other_logins_are_saved(
    store: Store, no_cache: EsiCache, limiter: Limiter
) -> None:
    save_logins(store, no_cache, limiter, [LOGIN])
    save_logins(store, no_cache, limiter, [replace(LOGIN, name="Ada Lind")])
    with pytest.raises(Unavailable, match="log in again later"):
        save_logins(store, no_cache, limiter, [BUYER])
    kept = store.logins.character(CHARACTER)
    assert kept is not None
    assert (kept.name, kept.user_id, kept.owner_hash) == ("Ada Lind", 7, "seller")


def test_a_login_lifts_the_brake_of_its_character_and_no_other(store: Store, cache: EsiCache, limiter: Limiter) -> None:
    for character_id in (CHARACTER, OTHER):
        limiter.brake(rejected(character_id, "ESI answered 401"))
    save_logins(store, cache, limiter, [LOGIN])
    assert [brake.name for brake in limiter.state().brakes] == [f"character:{OTHER}"]


def test_a_limiter_that_does_not_answer_loses_no_login(store: Store, cache: EsiCache) -> None:
    away = Limiter(redis.Redis(port=1, decode_responses=True), clock=SystemClock(), application="app")
    save_logins(store, cache, away, [LOGIN])
    assert store.logins.character(CHARACTER) is not None
