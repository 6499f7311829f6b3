"""Returned values are shown unchanged, even if JSON cannot represent them; otherwise the reason is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.results import Results

from nomad_actors.broker import JobBroker, JobResults
from nomad_actors.clock import SystemClock
from nomad_actors.queues import Queues
from nomad_actors.queues.as_job import as_job
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.settings import Settings
from nomad_actors.testing import running


class Nothing(Payload):
    """No data."""


class Returned(Result):
    number: float = 0
    anything: Any = None


@pytest.fixture
def broker(redis_url: str) -> Iterator[JobBroker]:
    broker = JobBroker(url=redis_url)
    broker.add_middleware(Results(backend=JobResults(broker), store_results=True))
    yield broker
    broker.close()


def test_nan_and_infinity_are_shown_by_name_and_read_back_unchanged(broker: JobBroker) -> None:
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    returned = Returned(number=math.inf, anything=[math.nan, {"deep": -math.inf}, 1.5, None])
    job_type = JobType(name="job", queue="default", payload=Nothing, result=Returned, run=lambda _: returned)
    queues.register(job_type)
    added = queues.add_job("default", "job", {})
    with running(broker):
        broker.join("default", timeout=5000)
    job = queues.get_queue("default").get(added.id)
    assert job is not None
    assert job.returnvalue == {"number": "Infinity", "anything": ["NaN", {"deep": "-Infinity"}, 1.5, None]}
    message = dramatiq.Message("default", "job", (), {}, {}, message_id=added.id)
    found = message.get_result(backend=JobResults(broker))
    assert math.isnan(found["anything"][0])
    assert found["number"] == math.inf


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("half \ud800", "half \\ud800"),
        ({"\udfff": ["\ud83d", 1, None, True]}, {"\\udfff": ["\\ud83d", 1, None, True]}),
        ([1, "NaN", float("inf")], [1, "NaN", "Infinity"]),
        ("plain \u20ac \U0001f680", "plain \u20ac \U0001f680"),
    ],
)
def test_half_a_surrogate_pair_is_shown_escaped(broker: JobBroker, value: Any, shown: Any) -> None:
    assert returned(broker, value) == shown


def test_a_result_that_is_nested_too_deeply_is_reported(broker: JobBroker) -> None:
    value = nested(900)
    assert returned(broker, value) == f"{len(json.dumps(value))} bytes of JSON that is nested too deeply"


def test_a_number_beyond_pythons_floats_is_shown(broker: JobBroker) -> None:
    class Encoder(dramatiq.JSONEncoder):
        def encode(self, data: Any) -> bytes:
            return b'{"number": 1e999}' if data == "number" else super().encode(data)

    assert returned(broker, "number", Encoder()) == {"number": "inf"}


def returned(broker: JobBroker, value: Any, encoder: dramatiq.Encoder | None = None) -> Any:
    """Return what is shown for a job that returned `value`."""
    if encoder is not None:
        for middleware in broker.middleware:
            if isinstance(middleware, Results):
                middleware.backend.encoder = encoder
    made: Callable[[], Any] = lambda: value  # noqa: E731
    message = dramatiq.actor(made, actor_name="job", broker=broker).send()
    with running(broker):
        broker.join("default", timeout=5000)
    stored = broker.view("default").get(message.message_id)
    assert stored is not None
    assert stored.state == "completed", stored.reason()
    return as_job(stored, queue="default", status="completed", job_type=None).returnvalue
