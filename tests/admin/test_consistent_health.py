"""The overview, the health endpoint and the doctor agree on every problem."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from flask.testing import FlaskClient

from .conftest import AdminApp

Damage = Callable[[AdminApp, redis.Redis], AbstractContextManager[None]]


@contextmanager
def gone_database(app: AdminApp, _: redis.Redis) -> Iterator[None]:
    app.remove_database()
    yield
    app.restore_database()


@contextmanager
def damaged_database(app: AdminApp, _: redis.Redis) -> Iterator[None]:
    path = Path(app.store.database.url.database or "")
    with app.store.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    app.store.close()
    content = path.read_bytes()
    path.write_bytes(random.Random(1).randbytes(len(content)))
    yield
    app.store.close()
    path.write_bytes(content)


@contextmanager
def newer_schema(app: AdminApp, _: redis.Redis) -> Iterator[None]:
    def set_version(version: str) -> None:
        with app.store.database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :to"), {"to": version})

    current = app.store.database.schema().found or ""
    set_version("9999")
    # Behave like a new process: a running one has already checked the schema.
    app.store.database._ready_pid = 0
    yield
    app.store.database._ready_pid = -1
    with app.store.database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :to"), {"to": current})


@contextmanager
def evicting_redis(_: AdminApp, client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory-policy", "allkeys-lru")
    yield
    client.config_set("maxmemory-policy", "noeviction")


@contextmanager
def forgetful_redis(_: AdminApp, client: redis.Redis) -> Iterator[None]:
    client.config_set("appendonly", "no")
    yield
    client.config_set("appendonly", "yes")


def verdicts(operator: FlaskClient) -> dict[str, bool]:
    return {
        "health": operator.get("/admin/jobs/health").get_json()["healthy"],
        "doctor": operator.get("/admin/doctor").get_json()["healthy"],
        "overview": "<title>Healthy" in operator.get("/admin/").text,
        "checks": "No problems found" in operator.get("/admin/checks").text,
    }


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize(
    ("damage", "part", "ready"),
    [
        (gone_database, "database", False),
        (damaged_database, "database", False),
        (newer_schema, "database", False),
        (evicting_redis, "redis", True),
        (forgetful_redis, "redis", True),
    ],
)
def test_every_check_reports_the_same_problem(
    operator: FlaskClient, app: AdminApp, redis_client: redis.Redis, damage: Damage, part: str, ready: bool
) -> None:
    app.simulate_scheduler()
    app.store.migrate()
    assert set(verdicts(operator).values()) == {True}
    with damage(app, redis_client):
        assert verdicts(operator) == dict.fromkeys(("health", "doctor", "overview", "checks"), False)
        health = operator.get("/admin/jobs/health")
        assert health.status_code == 503
        assert [name for name in ("redis", "database", "host") if health.get_json()[name]["issues"]] == [part]
        assert (operator.get("/readyz").status_code == 200) is ready
    assert set(verdicts(operator).values()) == {True}
