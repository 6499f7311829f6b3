"""Damaged records in Redis: an unreadable value makes no endpoint fail, and actions still work."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from nomad_actors.broker import records
from nomad_actors.testing import running

from .conftest import AdminApp

BASE = "nomad:{token-refresh}"
QUEUE = "/admin/jobs/queues/token-refresh"
NAN, HUGE = float("nan"), 1e18


def a_record(
    client: redis.Redis, *, times: float | None = None, body: bytes | None = None, story: bytes = b""
) -> bytes:
    """Return the failed job's record with changed contents."""
    (job,) = client.zrange(f"{BASE}:failed", 0, 0)
    record = records.unpack(client.hget(f"{BASE}:jobs", job))  # type: ignore[arg-type]
    header, body = record.header, record.body if body is None else body
    at = [header.created_ms, header.ready_ms, header.started_ms, header.finished_ms] if times is None else 4 * [times]
    packed = records.HEADER.pack(1, 2, 1, 0, 0, *at, b"c" * 8, header.token, len(body))
    return packed + body + record.story + story


def a_message(**options: object) -> bytes:
    return json.dumps({"actor_name": "token-refresh-work", "args": [], "kwargs": {"n": 1}, "options": options}).encode()


FAILED = "the failed job"
RUBBISH: list[tuple[str, str, object]] = [
    *((f"{BASE}:meta", field, value) for field in ("paused", "paused:esi") for value in (b"garbage", b"{}", b"[]")),
    (f"{BASE}:meta", "paused", b'{"since":"x"}'),
    *((f"{BASE}:meta", field, b"x") for field in ("rate", "limit_set", "max_length", "limit", "keep")),
    *((f"{BASE}:{name}", "zz", value) for name in ("stats", "workers", "faults") for value in (b"", b"\xff" * 90)),
    (f"{BASE}:workers", "tick", b"x"),
    *((f"{BASE}:operations", "zz", value) for value in (b"\xff", b"{}", b"[" * 5000)),
    *((f"{BASE}:schedules", "zz", value) for value in (b"\xff", b"{}")),
    ("nomad:schedulers", "zz", b"x"),
    (f"{BASE}:jobs", FAILED, b"no record"),
    (f"{BASE}:active", FAILED, b"x"),
    *((f"{BASE}:jobs", FAILED, {"times": at}) for at in (NAN, float("inf"), -1.0, HUGE)),
    (f"{BASE}:jobs", FAILED, {"story": b"\x04cut"}),
    (f"{BASE}:jobs", FAILED, {"story": records.EVENT.pack(3, NAN, 4) + b"null"}),
    (f"{BASE}:jobs", FAILED, {"story": records.EVENT.pack(3, 1e12, 1) + b"{"}),
    *((f"{BASE}:jobs", FAILED, {"story": records.EVENT.pack(kind, 1e12, 0)}) for kind in (4, 9, 11)),
    (f"{BASE}:jobs", FAILED, {"story": records.EVENT.pack(5, 1e12, 3) + b"NaN"}),
    (f"{BASE}:jobs", FAILED, {"body": a_message(backoff="x", max_retries="x", delay="x", requested_by=5)}),
    (f"{BASE}:jobs", FAILED, {"body": a_message().replace(b'"n": 1', b'"n": NaN')}),
    (f"{BASE}:notes", FAILED, b"\xff" * 80),
    (f"{BASE}:notes", FAILED, struct.pack(">14sIII", b"", 0, 0, 4) + b"null"),
]


def lots() -> list[list[tuple[str, str, object]]]:
    """Split the rubbish into lots in which each field occurs once."""
    found: list[dict[tuple[str, str], object]] = []
    for key, field, value in RUBBISH:
        lot = next((lot for lot in found if (key, field) not in lot), None)
        if lot is None:
            found.append(lot := {})
        lot[key, field] = value
    return [[(key, field, value) for (key, field), value in lot.items()] for lot in found]


def plant(client: redis.Redis, key: str, field: str, value: object) -> None:
    if field == FAILED:
        (job,) = client.zrange(f"{BASE}:failed", 0, 0)
        value = a_record(client, **value) if isinstance(value, dict) else value  # type: ignore[arg-type]
        client.hset(key, job, value)  # type: ignore[arg-type]
    else:
        client.hset(key, field, value)  # type: ignore[arg-type]
    if key.endswith(":faults"):
        client.zadd(f"{BASE}:faults:last", {field: 1e12})


def read_paths(operator: FlaskClient, app: AdminApp) -> list[str]:
    """Return every path that only reads."""
    paths = operator.get("/admin/openapi.json").get_json()["paths"]
    api = [path.replace("{queue}", "token-refresh") for path, methods in paths.items() if "get" in methods]
    ids = [job.id for job in app.queues.get_queue("token-refresh").jobs(["failed", "completed"])]
    return [
        *(path for path in api if "{" not in path),
        *(f"{QUEUE}/jobs?status={state}" for state in ("failed", "completed", "active", "delayed")),
        *(f"{QUEUE}/jobs/{each}" for each in ids),
        *("/admin/", "/admin/bulk", "/admin/queues/token-refresh", "/admin/queues/token-refresh?status=failed"),
        *("/admin/queues/token-refresh/failures", "/admin/audit"),
        *(f"/admin/queues/token-refresh/jobs/{each}" for each in ids),
    ]


def check_everything(operator: FlaskClient, app: AdminApp) -> None:
    """Request every path; only health and doctor may report a problem."""
    for path in read_paths(operator, app):
        response = operator.get(path)
        may_fail = path in ("/admin/jobs/health", "/admin/doctor") and "Retry-After" not in response.headers
        assert response.status_code == 200 or (response.status_code == 503 and may_fail), (
            f"{path}: {response.text[:500]}"
        )
        if response.mimetype == "application/json":
            json.loads(response.text, parse_constant=pytest.fail)


@pytest.mark.parametrize("lot", lots(), ids=lambda lot: f"{lot[-1]}"[-60:])
def test_unreadable_values_break_nothing(
    operator: FlaskClient,
    app: AdminApp,
    web: Flask,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
    lot: list[tuple[str, str, object]],
) -> None:
    queue = app.queues.get_queue("token-refresh")
    app.add()
    app.add(fail=True)
    app.run_all()
    for key, field, value in lot:
        plant(redis_client, key, field, value)
    check_everything(operator, app)
    for path, body in (("pause", {"reason": "a look"}), ("resume", {})):
        assert operator.post(f"{QUEUE}/{path}", json=body).status_code == 200
    limits = {"concurrency": 5, "starts": 9, "periodMs": 1000, "maxLength": None}
    assert operator.put(f"{QUEUE}/limits", json=limits).status_code == 200
    added = [app.add(), app.add(fail=True)]
    with running(app.broker):
        wait_until(lambda: {job.id for job in queue.jobs(["failed", "completed"])} >= set(added), what="jobs to end")
    check_everything(operator, app)
    assert operator.get("/admin/jobs/scheduler").status_code == 200
