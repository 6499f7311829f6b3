"""The admin against random requests drawn from its own document: answers are as documented, reading changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import redis
from flask import Flask

from admin import create_app
from chaos.api_fuzz import Fuzz
from nomad_actors.store.schema import metadata

from .conftest import QUEUES, Parts, with_token


@pytest.fixture
def filled(parts: Parts) -> Flask:
    """An admin over queues that hold jobs in every state that needs no worker, and schedules."""
    parts.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    for queue in QUEUES:
        parts.add(queue)
        parts.add(queue, fail=True)
        parts.run_all(queue)
        parts.add(queue)
        parts.queues.add_job(queue, f"{queue}-work", {"character_id": 2}, delay=3_600_000)
        parts.queues.get_queue(queue).cancel(parts.add(queue))
    web = create_app(parts)
    assert with_token(web, parts).post("/admin/jobs/queues/esi-refresh/resume").status_code == 200
    return web


@pytest.mark.slow
def test_random_requests_are_answered_as_documented(filled: Flask, parts: Parts) -> None:
    with Fuzz(filled, parts.queues, random.Random(1), parts.settings) as fuzz:
        fuzz.ask(8)
        fuzz.look(8)
    assert fuzz.answers.total() > 300
    assert {200, 201, 404, 409, 422} <= set(fuzz.answers), fuzz.told()


def test_reading_changes_nothing(filled: Flask, parts: Parts, redis_client: redis.Redis) -> None:
    before = everything(redis_client), rows(parts)
    assert before[0]
    assert before[1]["audit_log"]
    with Fuzz(filled, parts.queues, random.Random(2), parts.settings) as fuzz:
        fuzz.ask(8, methods=("GET",))
        fuzz.look(15)
        assert {200, 404, 422} <= set(fuzz.answers), fuzz.told()
    after = everything(redis_client)
    assert {key: after.get(key) for key in before[0] | after if before[0].get(key) != after.get(key)} == {}
    assert rows(parts) == before[1]


def everything(client: redis.Redis) -> dict[bytes, object]:
    """Return every key of a Redis with what it holds; not as it lies there, which reading may put in another order."""
    read: dict[bytes, Callable[[bytes], object]] = {
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
    }
    return {key: read[client.type(key)](key) for key in client.keys("*")}


def rows(parts: Parts) -> dict[str, list[object]]:
    """Return what every table of the database holds."""
    with parts.store.database.read() as connection:
        return {name: [*map(tuple, connection.execute(table.select()))] for name, table in metadata.tables.items()}
