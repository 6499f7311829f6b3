"""The connection pool that an application chooses: its class, bound and settings hold for the broker's connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dramatiq
import pytest
import redis

from nomad_actors.broker import JobBroker
from nomad_actors.broker.client.pools import own_pool
from nomad_actors.broker.errors import RedisUnavailable
from nomad_actors.testing import running

NAME = "chosen-by-the-application"


class OwnConnection(redis.Connection):
    """Counts how many there are."""

    made = 0

    def __init__(self, **arguments: Any) -> None:
        type(self).made += 1
        super().__init__(**arguments)


class OwnPool(redis.BlockingConnectionPool):
    """An application's own class of pools."""


class Credentials(redis.CredentialProvider):
    """An application's own source of passwords."""

    def __init__(self) -> None:
        self.fails: BaseException | None = None

    def get_credentials(self) -> tuple[str, str]:
        if self.fails is not None:
            raise self.fails
        return "worker", "secret"


@pytest.fixture
def user(redis_client: redis.Redis) -> Iterator[str]:
    redis_client.acl_setuser(
        "worker", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"], commands=["+@all"]
    )
    yield "worker"
    redis_client.acl_deluser("worker")


def connections(redis_client: redis.Redis) -> list[dict[str, str]]:
    return [each for each in redis_client.client_list() if each["name"] == NAME]


@pytest.mark.parametrize("kind", [redis.ConnectionPool, redis.BlockingConnectionPool, OwnPool])
def test_the_pools_class_bound_and_settings_are_kept(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis, redis_url: str, kind: Any, user: str
) -> None:
    OwnConnection.made = 0
    pool = kind.from_url(
        redis_url,
        max_connections=3,
        connection_class=OwnConnection,
        credential_provider=Credentials(),
        client_name=NAME,
        decode_responses=True,
        protocol=3,
        encoding="latin-1",
        socket_keepalive=True,
    )
    broker = make_broker(url=None, connection_pool=pool)
    actor = dramatiq.actor(lambda number: None, broker=broker, actor_name="job", queue_name="chosen")
    seen: list[int] = []

    def send(number: int) -> None:
        actor.send(number)
        seen.append(len(connections(redis_client)))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(send, range(100)))
    assert max(seen) <= 3
    with running(broker, threads=2):
        broker.join("chosen", timeout=10_000)
        now = connections(redis_client)
    # Those of callers, and two of the worker's own.
    assert len(now) <= 5
    assert {each["user"] for each in now} == {user}
    assert OwnConnection.made >= 3
    assert broker.view("chosen").counts().completed == 100
    assert type(broker._pool) is kind
    # The application's own pool is its own.
    assert broker.client.get("nothing") is None


@pytest.mark.parametrize("kind", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_a_worker_with_a_pool_of_one_connection_starves_nobody(
    make_broker: Callable[..., JobBroker], redis_url: str, kind: Any
) -> None:
    broker = make_broker(url=None, connection_pool=kind.from_url(redis_url, max_connections=1))
    ends = dramatiq.actor(lambda: None, broker=broker, actor_name="ends")

    def adds() -> None:
        ends.send()

    actor = dramatiq.actor(adds, broker=broker)
    with running(broker, threads=1):
        for _ in range(20):
            actor.send()
        broker.join("default", timeout=10_000)
    assert broker.view("default").counts().completed == 40


@pytest.mark.parametrize("kind", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_a_caller_without_a_free_connection_gets_the_reason(
    make_broker: Callable[..., JobBroker], redis_url: str, kind: Any
) -> None:
    arguments = {"timeout": 0.1} if kind is redis.BlockingConnectionPool else {}
    pool = kind.from_url(redis_url, max_connections=1, **arguments)
    broker = make_broker(url=None, connection_pool=pool, caller_deadline_ms=2000)
    held = broker._links._pool.get_connection()
    before = time.monotonic()
    with pytest.raises(RedisUnavailable, match=r"all 1 connections of the pool are in use \(max_connections\)"):
        broker.ping()
    assert time.monotonic() - before < 2
    broker._links._pool.release(held)
    broker.ping()


@pytest.mark.parametrize("raised", [ValueError("no password to be had"), SystemExit(3)], ids=["error", "exit"])
def test_a_worker_outlives_credentials_that_cannot_be_had(
    make_broker: Callable[..., JobBroker],
    redis_client: redis.Redis,
    redis_url: str,
    user: str,
    raised: BaseException,
    wait_until: Callable[..., None],
) -> None:
    credentials = Credentials()
    pool = redis.ConnectionPool.from_url(redis_url, credential_provider=credentials, client_name=NAME)
    broker = make_broker(url=None, connection_pool=pool, lease_ms=1000)
    actor = dramatiq.actor(lambda: None, broker=broker, actor_name="job")
    with running(broker, threads=1):
        actor.send()
        broker.join("default", timeout=5000)
        credentials.fails = raised
        for each in connections(redis_client):
            redis_client.client_kill(each["addr"])
        if isinstance(raised, Exception):
            with pytest.raises(RedisUnavailable, match="no password to be had"):
                broker.ping()
        session = broker._session
        assert session is not None
        wait_until(lambda: session._tried or session._failing_since_mono)
        credentials.fails = None
        actor.send()
        broker.join("default", timeout=10_000)
        assert session.failure is None


def test_what_cannot_be_used_is_refused_by_name(redis_url: str) -> None:
    class Odd(redis.ConnectionPool):
        def __init__(self, url: str) -> None:
            super().__init__(**redis.connection.parse_url(url))

    with pytest.raises(ValueError, match="class Odd does not take the arguments"):
        JobBroker(connection_pool=Odd(redis_url))
    with pytest.raises(ValueError, match="url and connection_pool"):
        JobBroker(url=redis_url, connection_pool=redis.ConnectionPool())
    with pytest.raises(ValueError, match="client is a object"):
        JobBroker(client=object())  # type: ignore[arg-type]


def test_a_sentinels_pool_keeps_what_was_chosen() -> None:
    sentinel = redis.sentinel.Sentinel([("127.0.0.1", 1)], ssl=True, client_name=NAME)
    theirs = sentinel.slave_for("service", check_connection=True, max_connections=7).connection_pool
    ours = own_pool(theirs)
    assert isinstance(ours, redis.sentinel.SentinelConnectionPool)
    assert (ours.is_master, ours.check_connection, ours.max_connections) == (False, True, 7)
    assert ours.connection_class is theirs.connection_class
    assert ours.proxy is not theirs.proxy
    assert ours.connection_kwargs["client_name"] == NAME


def test_a_shorter_timeout_is_kept_and_a_longer_one_is_not() -> None:
    def timeout(chosen: float | None) -> float:
        pool = own_pool(redis.ConnectionPool(socket_timeout=chosen))
        return float(pool.connection_kwargs["socket_timeout"])

    assert [timeout(chosen) for chosen in (None, 0.5, 60)] == [5.0, 0.5, 5.0]
