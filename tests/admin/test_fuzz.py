"""The admin against random requests drawn from its own document: answers are as documented, reading changes nothing."""

from __future__ import annotations

import random

import pytest
import redis
from flask import Flask

from admin import create_app
from chaos.api_fuzz import Fuzz

from .conftest import QUEUES, Parts


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
    return create_app(parts)  # type: ignore[arg-type]


@pytest.mark.slow
def test_random_requests_are_answered_as_documented(filled: Flask, parts: Parts) -> None:
    with Fuzz(filled, parts.queues, random.Random(1)) as fuzz:
        fuzz.ask(15)
    assert fuzz.answers.total() > 300
    assert {200, 201, 404, 409, 422} <= set(fuzz.answers), fuzz.told()


def test_reading_changes_nothing(filled: Flask, parts: Parts, redis_client: redis.Redis) -> None:
    before = everything(redis_client)
    assert before
    with Fuzz(filled, parts.queues, random.Random(2)) as fuzz:
        fuzz.ask(10, methods=("GET",))
    assert everything(redis_client) == before


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    """Return every key of a Redis with what it holds."""
    return {key: client.dump(key) for key in client.keys("*")}
