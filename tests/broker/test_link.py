"""Scripts that are sent in one go run one after the other, also on a Redis that does not have all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from nomad_actors.broker import keys
from nomad_actors.broker.client.link import Call, CallerLinks, Link
from nomad_actors.broker.client.pools import own_pool
from nomad_actors.broker.errors import RedisUnavailable, ScriptFailed, WrongKeyType
from nomad_actors.broker.records.limits import PauseScope
from nomad_actors.broker.scripts import scripts
from nomad_actors.processes.local_redis import LocalRedis

BASE = keys.base("dramatiq", "default")
FACTS = Call("facts", BASE, (0,))
PAUSE = Call("pause", BASE, (PauseScope.QUEUE.field, "pause", "", "an operator", "why not"))
RESUME = Call("pause", BASE, (PauseScope.QUEUE.field, "resume", "", "", ""))


@pytest.fixture
def client(own_redis: LocalRedis) -> Iterator[redis.Redis]:
    """A client of a Redis that no script was ever run on."""
    with redis.Redis.from_url(own_redis.url) as client:
        yield client


@pytest.fixture
def link(client: redis.Redis) -> Iterator[Link]:
    link = Link(own_pool(client.connection_pool))
    yield link
    link.close()


def test_a_script_that_redis_has_does_not_run_before_one_that_it_lacks(link: Link) -> None:
    (before,) = link.run([FACTS])
    assert "why not" not in repr(before)
    _, after = link.run([PAUSE, FACTS])
    assert "why not" in repr(after)


def test_an_emptied_script_cache_fails_no_call(link: Link, client: redis.Redis) -> None:
    (before,) = link.run([FACTS])
    client.script_flush()
    (after,) = link.run([FACTS])
    assert after[1:] == before[1:]
    link.run([PAUSE, FACTS])
    link.run([RESUME])
    client.script_flush()
    client.script_load(scripts()["facts"].source)
    _, paused = link.run([PAUSE, FACTS])
    assert "why not" in repr(paused)


def test_the_text_of_a_script_is_sent_once(link: Link, client: redis.Redis) -> None:
    for _ in range(5):
        link.run([FACTS])
    stats = client.info("commandstats")
    assert (stats["cmdstat_eval"]["calls"], stats["cmdstat_evalsha"]["calls"]) == (1, 4)


def test_a_script_that_fails_is_no_outage_and_is_not_repeated(client: redis.Redis) -> None:
    links = CallerLinks(own_pool(client.connection_pool))
    client.set(f"{BASE}:waiting", "no list of jobs")
    before = client.info("commandstats").get("cmdstat_eval", {}).get("calls", 0)
    with pytest.raises(WrongKeyType, match="WRONGTYPE"):
        links.run([FACTS])
    assert client.info("commandstats")["cmdstat_eval"]["calls"] - before == 1
    with pytest.raises(ScriptFailed, match="DataError"):
        links.run([("GET", object())])
    links.close()


@pytest.mark.parametrize("reason", ["maxmemory", "replica"])
def test_a_redis_that_takes_no_writes_is_an_outage(client: redis.Redis, reason: str) -> None:
    links = CallerLinks(own_pool(client.connection_pool))
    if reason == "maxmemory":
        client.config_set("maxmemory", 1)
    else:
        client.replicaof("127.0.0.1", 1)
    with pytest.raises(RedisUnavailable):
        links.run([Call("set_limits", BASE, ("max_length", 5))])
    links.close()
