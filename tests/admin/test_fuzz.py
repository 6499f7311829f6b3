"""Random requests from the OpenAPI document: the responses are as documented, and reading changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import redis
from flask import Flask

from admin import create_app
from chaos.api_fuzz import Fuzz
from nomad_actors.store.schema import metadata

from .conftest import QUEUES, AdminApp, operator_client
from .data.conftest import ADA, collect_everything, log_in


@pytest.fixture
def filled(app: AdminApp) -> Flask:
    """An admin with a schedule and jobs in every state that needs no worker."""
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    for queue in QUEUES:
        app.add(queue)
        app.add(queue, fail=True)
        app.run_all(queue)
        app.add(queue)
        app.queues.add_job(queue, f"{queue}-work", {"character_id": 2}, delay=3_600_000)
        app.queues.get_queue(queue).cancel(app.add(queue))
    log_in(app.store, ADA, 7)
    collect_everything(app.store)
    web = create_app(app)
    assert operator_client(web, app).post("/admin/jobs/queues/esi-refresh/resume").status_code == 200
    return web


@pytest.mark.slow
def test_random_requests_are_answered_as_documented(filled: Flask, app: AdminApp) -> None:
    with Fuzz(filled, app.queues, random.Random(1), app.settings) as fuzz:
        fuzz.ask(8)
        fuzz.look(8)
    assert fuzz.statuses.total() > 300
    assert {200, 201, 404, 409, 422} <= set(fuzz.statuses), fuzz.summary()


def test_reading_changes_nothing(filled: Flask, app: AdminApp, redis_client: redis.Redis) -> None:
    before = everything(redis_client), rows(app)
    assert before[0]
    assert before[1]["audit_log"]
    with Fuzz(filled, app.queues, random.Random(2), app.settings) as fuzz:
        fuzz.ask(8, methods=("GET",))
        fuzz.look(15)
        assert {200, 404, 422} <= set(fuzz.statuses), fuzz.summary()
    after = everything(redis_client)
    assert {key: after.get(key) for key in before[0] | after if before[0].get(key) != after.get(key)} == {}
    assert rows(app) == before[1]


def everything(client: redis.Redis) -> dict[bytes, object]:
    """Return every key of a Redis with its decoded value; reading may change the raw encoding."""
    read: dict[bytes, Callable[[bytes], object]] = {
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
    }
    return {key: read[client.type(key)](key) for key in client.keys("*")}


def rows(app: AdminApp) -> dict[str, list[object]]:
    """Return all rows of every table."""
    with app.store.database.read() as connection:
        return {name: [*map(tuple, connection.execute(table.select()))] for name, table in metadata.tables.items()}
