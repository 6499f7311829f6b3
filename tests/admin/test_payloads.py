"""Values that a payload cannot carry are refused with the field's name, and nothing is enqueued."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import BaseModel, Field, Json

from nomad_actors.errors import BadPayload
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.scheduler import ScheduledJob
from nomad_actors.testing import running

from .conftest import AdminApp


class Inner(BaseModel):
    n: int = 0
    by_name: int = Field(default=0, alias="byName")


class Free(Payload):
    """Fields whose values may have no form in JSON."""

    it: Any = None
    number: float = 0
    raw: bytes = b""
    inner: list[Inner] = Field(default=[])
    day: dt.date | None = None
    text: Json[list[int]] | None = None


received: list[Free] = []


@pytest.fixture
def free(app: AdminApp) -> AdminApp:
    """An application with a job type that takes anything."""
    received.clear()

    def run(payload: Free) -> Result:
        received.append(payload)
        return Result()

    app.queues.register(JobType(name="free", queue="free", payload=Free, result=Result, run=run))
    return app


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


#: The data as JSON, and the error message.
REFUSED = [
    ('{"it": NaN}', "NaN is not valid JSON"),
    ('{"number": -Infinity}', "-Infinity is not valid JSON"),
    ('{"it": 1e999}', "too large a number"),
    ('{"number": "nan"}', "number: Input should be a finite number"),
    (f'{{"it": {nested(205)}}}', "it: nested too deeply"),
    (f'{{"it": {nested(256)}}}', "it: nested too deeply"),
    (f'{{"it": {nested(20_000)}}}', "not JSON"),
    (f'{{"it": {"9" * 5000}}}', "not JSON"),
    ('{"it": "\\ud800"}', "not JSON"),
    ('{"it": {"\\udfff": 1}}', "not JSON"),
    ('{"inner": [{"n": 1}, {"n": 1, "more": 2}]}', "inner.1.more: Extra inputs are not permitted"),
    ('{"inner": [{"n": "x"}]}', "inner.0.n: Input should be a valid integer"),
    ('{"text": "[1,"}', "text: Invalid JSON"),
    ("[]", "payload: Input should be a valid dictionary"),
    ("null", "payload: Input should be a valid dictionary"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=lambda each: each[:30])
def test_the_api_answers_422_with_the_fields_name(
    operator: FlaskClient, free: AdminApp, data: str, message: str
) -> None:
    job = f'{{"name": "free", "data": {data}}}'
    bodies = {"jobs": job, "batch": f'{{"jobs": [{{"name": "free", "data": {{}}}}, {job}]}}'}
    for path, body in bodies.items():
        response = operator.post(f"/admin/jobs/queues/free/{path}", data=body, content_type="application/json")
        assert (response.status_code, response.mimetype) == (422, "application/problem+json"), response.text
        assert message in response.get_json()["detail"]
        assert path != "batch" or ": " not in message or "jobs[1]" in response.get_json()["detail"]
    assert not any(free.queues.get_queue("free").counts().values())


def test_accepted_data_reaches_the_job(operator: FlaskClient, free: AdminApp) -> None:
    given = {
        "it": json.loads(nested(150)),
        "number": 0.1,
        "raw": "ü",
        "inner": [{"n": 1, "byName": 2}, {"by_name": 3}],
        "day": "2026-11-29",
        "text": "[1, 2]",
    }
    body = json.dumps({"name": "free", "data": given}).encode()
    response = operator.post("/admin/jobs/queues/free/jobs", data=body, content_type="application/json")
    assert response.status_code == 201
    with running(free.broker, queues={"free"}):
        free.broker.join("free", timeout=5000)
    assert received == [Free.model_validate(given, by_alias=True, by_name=True)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"it": float("nan")}, "it: nan would arrive as None"),
        ({"number": float("inf")}, "number: Input should be a finite number"),
        ({"it": object()}, "it: <object.* cannot be written as JSON"),
        ({"raw": b"\xff"}, r"raw: b'\\xff' cannot be written as JSON"),
        ({"it": dt.date(2026, 1, 1)}, "it: .* would arrive as '2026-01-01'"),
        ({"inner": [{"more": 1}]}, "inner.0.more: Extra inputs"),
    ],
    ids=["nan", "infinity", "object", "bytes", "date", "nested"],
)
def test_a_schedule_of_such_a_job_is_refused(free: AdminApp, data: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPayload, match=message):
        free.schedules.schedule_job("s", "* * * * *", ScheduledJob("free", data))
    assert free.schedules.find("s") is None


def test_a_schedule_stores_its_data_as_json(operator: FlaskClient, free: AdminApp) -> None:
    given = {"day": dt.date(2026, 11, 29), "inner": [{"byName": 3}], "text": "[1]"}
    free.simulate_scheduler()
    free.schedules.schedule_job("s", "0 0 1 1 *", ScheduledJob("free", given))
    stored = free.schedules.get("s").schedule.data
    assert stored == {"day": "2026-11-29", "inner": [{"by_name": 3}], "text": "[1]"}
    assert operator.get("/admin/schedules/s").status_code == 200
    free.schedules.run_job("s")
    with running(free.broker, queues={"free"}):
        free.broker.join("free", timeout=5000)
    assert received == [Free.model_validate(given)]
