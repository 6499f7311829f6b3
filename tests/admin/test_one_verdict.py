"""The overview, the health, the doctor and the probe agree on what is wrong, whichever part it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from flask.testing import FlaskClient

from .conftest import Parts

Fault = Callable[[Parts, redis.Redis], AbstractContextManager[None]]


@contextmanager
def gone_database(parts: Parts, _: redis.Redis) -> Iterator[None]:
    parts.lose_database()
    yield
    parts.find_database()


@contextmanager
def damaged_database(parts: Parts, _: redis.Redis) -> Iterator[None]:
    path = Path(parts.store.database.url.database or "")
    with parts.store.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    parts.store.close()
    whole = path.read_bytes()
    path.write_bytes(random.Random(1).randbytes(len(whole)))
    yield
    parts.store.close()
    path.write_bytes(whole)


@contextmanager
def newer_schema(parts: Parts, _: redis.Redis) -> Iterator[None]:
    def set_version(version: str) -> None:
        with parts.store.database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :to"), {"to": version})

    current = parts.store.database.schema().found or ""
    set_version("9999")
    # As a process that starts now: one that runs has asked already.
    parts.store.database._ready_pid = 0
    yield
    parts.store.database._ready_pid = -1
    with parts.store.database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :to"), {"to": current})


@contextmanager
def evicting_redis(_: Parts, client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory-policy", "allkeys-lru")
    yield
    client.config_set("maxmemory-policy", "noeviction")


@contextmanager
def forgetful_redis(_: Parts, client: redis.Redis) -> Iterator[None]:
    client.config_set("appendonly", "no")
    yield
    client.config_set("appendonly", "yes")


def verdicts(ask: FlaskClient) -> dict[str, bool]:
    return {
        "health": ask.get("/admin/jobs/health").get_json()["healthy"],
        "doctor": ask.get("/admin/doctor").get_json()["healthy"],
        "overview": "<title>Healthy" in ask.get("/admin/").text,
        "checks": "Nothing is a problem" in ask.get("/admin/checks").text,
    }


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("fault", "part", "ready"),
    [
        (gone_database, "database", False),
        (damaged_database, "database", False),
        (newer_schema, "database", False),
        (evicting_redis, "redis", True),
        (forgetful_redis, "redis", True),
    ],
)
def test_every_verdict_is_the_same(
    ask: FlaskClient, parts: Parts, redis_client: redis.Redis, fault: Fault, part: str, ready: bool
) -> None:
    parts.hear_scheduler()
    parts.store.migrate()
    assert set(verdicts(ask).values()) == {True}
    with fault(parts, redis_client):
        assert verdicts(ask) == dict.fromkeys(("health", "doctor", "overview", "checks"), False)
        health = ask.get("/admin/jobs/health")
        assert health.status_code == 503
        assert [name for name in ("redis", "database", "host") if health.get_json()[name]["issues"]] == [part]
        assert (ask.get("/readyz").status_code == 200) is ready
    assert set(verdicts(ask).values()) == {True}
