"""Jobs over HTTP: lists, one job, adding jobs, and the operator's actions."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from .conftest import AdminApp, gate

JOBS = "/admin/jobs/queues/token-refresh/jobs"


def test_a_job_is_added_and_then_shown(operator: FlaskClient, app: AdminApp) -> None:
    options = {"priority": 1, "attempts": 4, "backoff": {"type": "fixed", "delay": 50}}
    body = {"name": "token-refresh-work", "data": {"character_id": 7}, "opts": {**options, "delay": None}}
    response = operator.post(JOBS, json=body)
    assert response.status_code == 201
    added = response.get_json()
    job_id = added.pop("id")
    assert added == {
        "name": "token-refresh-work",
        "queueName": "token-refresh",
        "state": "waiting",
        "priority": 1,
        "new": True,
    }
    shown = operator.get(f"{JOBS}/{job_id}").get_json()
    job = app.queues.get_queue("token-refresh").get(job_id)
    assert job is not None
    assert shown == job.as_json()
    assert shown["data"] == {"character_id": 7}
    assert shown["opts"] == {**options, "delay": 0}
    assert shown["requestedBy"] == "local"


def test_a_delayed_job_is_added_as_delayed(operator: FlaskClient) -> None:
    body = {"name": "token-refresh-work", "data": {"character_id": 7}, "opts": {"delay": 60_000}}
    added = operator.post(JOBS, json=body).get_json()
    assert (added["state"], added["priority"]) == ("delayed", 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "name is missing"),
        ({"name": 5}, "name is 5"),
        ({"name": "nothing"}, "unknown job type 'nothing'.*token-refresh-work"),
        ({"name": "token-refresh-work"}, "character_id: Field required"),
        ({"name": "token-refresh-work", "data": []}, "payload: "),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "jobId": 1}, "unknown field 'jobId'.*name, data"),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": 3}, "opts is not an object"),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"lifo": 1}}, "unknown field 'lifo'"),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"priority": 9}}, "priority 9.*CRITICAL"),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"attempts": True}}, "attempts True"),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"delay": "1"}}, "delay '1'"),
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"backoff": 5}}, "invalid backoff 5"),
        ([], "the body is not an object"),
    ],
)
def test_a_wrong_job_is_refused_with_what_is_accepted(
    operator: FlaskClient, app: AdminApp, body: object, message: str
) -> None:
    response = operator.post(JOBS, json=body)
    assert response.status_code == 422
    assert response.mimetype == "application/problem+json"
    problem = response.get_json()
    assert_matches(problem["detail"], message)
    assert problem["accepted"]
    assert sum(app.queues.get_queue("token-refresh").counts().values()) == 0


def assert_matches(detail: str, pattern: str) -> None:
    assert re.search(pattern, detail), detail


@pytest.mark.parametrize("raw", [b"{", b"nothing", b'{"name": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(operator: FlaskClient, raw: bytes) -> None:
    response = operator.post(JOBS, data=raw, content_type="application/json")
    assert response.status_code == 422
    assert "the body is not JSON" in response.get_json()["detail"]


def test_a_body_of_another_content_type_is_refused(operator: FlaskClient) -> None:
    response = operator.post(JOBS, data={"name": "token-refresh-work"})
    assert response.status_code == 422
    assert response.get_json()["accepted"] == ["application/json"]


def test_a_body_too_large_is_refused(operator: FlaskClient) -> None:
    response = operator.post(JOBS, data=b" " * 1_048_577, content_type="application/json")
    assert (response.status_code, response.mimetype) == (413, "application/problem+json")


def test_jobs_are_listed_by_state_page_by_page(operator: FlaskClient, app: AdminApp) -> None:
    ids = [app.add() for _ in range(12)]
    first = operator.get(JOBS).get_json()
    assert [job["id"] for job in first["jobs"]] == ids[:10]
    assert (first["total"], first["totalIsExact"]) == (12, True)
    rest = operator.get(f"{JOBS}?status=waiting&cursor={first['nextCursor']}").get_json()
    assert [job["id"] for job in rest["jobs"]] == ids[10:]
    assert rest["nextCursor"] is None
    assert operator.get(f"{JOBS}?status=completed").get_json() == {
        "jobs": [],
        "total": 0,
        "totalIsExact": True,
        "nextCursor": None,
    }


def test_several_states_are_listed_one_after_another(operator: FlaskClient, app: AdminApp) -> None:
    failed = app.add(fail=True)
    app.run_all()
    waiting = app.add()
    response = operator.get(f"{JOBS}?status=waiting,failed&limit=1").get_json()
    assert ([job["id"] for job in response["jobs"]], response["total"]) == ([waiting], 2)
    response = operator.get(f"{JOBS}?status=waiting,failed&limit=1&cursor={response['nextCursor']}").get_json()
    assert ([job["id"] for job in response["jobs"]], response["nextCursor"]) == ([failed], None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=done", "unknown state 'done'.*active, completed, delayed, failed, paused, waiting"),
        ("status=", "unknown state ''"),
        ("limit=0", "limit '0'.*1 to 1000"),
        ("limit=1001", "limit '1001'"),
        ("limit=ten", "limit 'ten'"),
        ("limit=%D9%A3", "limit '٣'"),
        ("cursor=-1", "cursor '-1'.*nextCursor"),
        ("state=failed", "unknown query parameter 'state'.*status, outcome, type, field"),
        ("limit=1&limit=2", "'limit' is given 2 times"),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_accepted(operator: FlaskClient, query: str, message: str) -> None:
    response = operator.get(f"{JOBS}?{query}")
    assert response.status_code == 422
    assert_matches(response.get_json()["detail"], message)


def test_failed_jobs_of_all_queues_are_listed_with_their_reasons(operator: FlaskClient, app: AdminApp) -> None:
    one, two = app.add(fail=True), app.add("esi-refresh", fail=True)
    app.run_all()
    app.run_all("esi-refresh")
    response = operator.get("/admin/jobs/failed?limit=50").get_json()
    assert response["total"] == 2
    assert {job["jobId"] for job in response["jobs"]} == {one, two}
    assert {job["failedReason"] for job in response["jobs"]} == {"ValueError: ESI said 404 <b>not found</b>"}
    assert len(operator.get("/admin/jobs/failed?limit=1").get_json()["jobs"]) == 1


def test_failed_jobs_of_all_queues_are_paginated_and_filtered_by_outcome(operator: FlaskClient, app: AdminApp) -> None:
    failed = [app.add(queue, fail=True) for queue in ("token-refresh", "esi-refresh") for _ in range(3)]
    for queue in ("token-refresh", "esi-refresh"):
        app.run_all(queue)
    cancelled = [app.add("cache-cleanup") for _ in range(12)]
    for job_id in cancelled:
        app.queues.get_queue("cache-cleanup").cancel(job_id)

    def pages(path: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = operator.get(f"{path}&limit=4&cursor={cursor}").get_json()
            found += [job["jobId"] for job in page["jobs"]]
            if page["nextCursor"] is None:
                return found
            cursor = page["nextCursor"]

    url = "/admin/jobs/failed"
    assert operator.get(url).get_json()["total"] == 6
    assert sorted(pages(f"{url}?")) == sorted(failed)
    assert sorted(pages(f"{url}?outcome=cancelled")) == sorted(cancelled)
    assert sorted(pages(f"{url}?outcome=failed,cancelled")) == sorted(failed + cancelled)
    for query, message in (("outcome=completed", "failed, cancelled"), ("cursor=x", "a nextCursor of the same list")):
        response = operator.get(f"{url}?{query}")
        assert (response.status_code, message in response.get_json()["detail"]) == (422, True)
    jobs = "/admin/jobs/queues/cache-cleanup/jobs"
    assert operator.get(f"{jobs}?outcome=cancelled").get_json()["total"] == 12
    assert operator.get(f"{jobs}?status=failed&outcome=failed").get_json()["jobs"] == []


def test_a_fingerprint_or_an_outcome_implies_the_state(operator: FlaskClient, app: AdminApp) -> None:
    failed = app.add(fail=True)
    app.add()
    app.run_all()
    (reason,) = operator.get(f"{JOBS.removesuffix('jobs')}failures").get_json()["failures"]
    for query, ids in ((f"fingerprint={reason['fingerprint']}", [failed]), ("outcome=failed", [failed])):
        assert [job["id"] for job in operator.get(f"{JOBS}?{query}").get_json()["jobs"]] == ids
    assert len(operator.get(f"{JOBS}?outcome=completed,failed").get_json()["jobs"]) == 2
    for query in ("outcome=lost", "outcome=", "status="):
        assert operator.get(f"{JOBS}?{query}").status_code == 422, query


@pytest.mark.usefixtures("workers")
def test_running_jobs_are_listed_and_cannot_be_removed(
    operator: FlaskClient, app: AdminApp, wait_until: Callable[..., None]
) -> None:
    job_id = app.add(wait=True)
    wait_until(lambda: operator.get("/admin/jobs/active").get_json()["total"] == 1)
    (job,) = operator.get("/admin/jobs/active").get_json()["jobs"]
    assert (job["id"], job["status"]) == (job_id, "active")
    # An operator who must stop the worker sees its name here.
    (worker,) = app.queues.get_queue(job["queueName"]).snapshot().workers
    assert (job["worker"], job["timeline"][-1]["worker"]) == (worker.name, worker.name)
    page = operator.get(f"/admin/queues/{job['queueName']}/jobs/{job_id}").text
    assert f"Runs on</dt><dd><code>{worker.name}</code>" in page
    response = operator.delete(f"{JOBS}/{job_id}")
    assert response.status_code == 409
    assert "is active; only a job that is waiting, delayed, completed or failed" in response.get_json()["detail"]
    gate.set()


def test_a_failed_job_is_retried(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add(fail=True)
    app.run_all()
    response = operator.post(f"{JOBS}/{job_id}/retry", json={})
    assert (response.status_code, response.get_json()) == (
        200,
        {"success": True, "queueName": "token-refresh", "jobId": job_id, "status": "waiting"},
    )
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 1
    assert operator.post(f"{JOBS}/{job_id}/retry").status_code == 409


def test_a_job_is_removed_once(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add()
    response = operator.delete(f"{JOBS}/{job_id}")
    assert (response.status_code, response.get_json()) == (
        200,
        {"success": True, "queueName": "token-refresh", "jobId": job_id, "removed": 1},
    )
    second = operator.delete(f"{JOBS}/{job_id}")
    assert (second.status_code, second.get_json()["title"]) == (404, "Not Found")
    assert operator.get(f"{JOBS}/{job_id}").status_code == 404


def test_a_job_with_slashes_in_its_id_is_found_retried_and_removed(operator: FlaskClient, app: AdminApp) -> None:
    app.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id="a//retry é")
    app.run_all()
    path = f"{JOBS}/a%2F%2Fretry%20%C3%A9"
    assert operator.get(path).get_json()["id"] == "a//retry é"
    assert operator.post(f"{path}/retry").status_code == 200
    assert operator.delete(path).status_code == 200


def test_a_paused_queue_starts_nothing_until_it_is_resumed(operator: FlaskClient, app: AdminApp) -> None:
    app.add()
    queue = "/admin/jobs/queues/token-refresh"
    assert operator.post(f"{queue}/pause").get_json() == {
        "success": True,
        "queueName": "token-refresh",
        "status": "paused",
    }
    assert app.queues.get_queue("token-refresh").snapshot().is_paused
    assert operator.get(f"{JOBS}?status=paused").get_json()["total"] == 1
    assert operator.post(f"{queue}/resume").get_json()["status"] == "running"
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused


def test_clean_removes_jobs_that_ended_before_the_grace_period(operator: FlaskClient, app: AdminApp) -> None:
    for _ in range(3):
        app.add()
    app.run_all()
    clean = "/admin/jobs/queues/token-refresh/clean"
    assert operator.post(clean).get_json()["removed"] == 0
    assert operator.post(clean, json={"grace": 0, "status": "failed"}).get_json()["removed"] == 0
    response = operator.post(clean, json={"grace": 0, "status": "completed", "limit": 2})
    assert (response.status_code, response.get_json()) == (
        200,
        {"success": True, "queueName": "token-refresh", "status": "completed", "removed": 2},
    )
    assert app.queues.get_queue("token-refresh").counts()["completed"] == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"grace": -1}, "grace -1"),
        ({"grace": 1.5}, "grace 1.5"),
        ({"grace": "1"}, "grace '1'"),
        ({"limit": 0}, "limit 0.*1 to 100000"),
        ({"limit": True}, "limit True"),
        ({"status": "active"}, "unknown state 'active'.*completed, delayed, failed, paused, waiting"),
        ({"status": None}, "status is None"),
        ({"age": 3}, "unknown field 'age'.*grace, status, limit"),
    ],
)
def test_a_wrong_clean_is_refused_and_removes_nothing(
    operator: FlaskClient, app: AdminApp, body: object, message: str
) -> None:
    app.add()
    app.run_all()
    response = operator.post("/admin/jobs/queues/token-refresh/clean", json=body)
    assert response.status_code == 422
    assert_matches(response.get_json()["detail"], message)
    assert app.queues.get_queue("token-refresh").counts()["completed"] == 1


def test_an_action_refuses_unknown_options(operator: FlaskClient) -> None:
    response = operator.post("/admin/jobs/queues/token-refresh/pause", json={"for": "1h"})
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "queues/nothing"),
        ("GET", "queues/nothing/jobs"),
        ("GET", "queues/nothing/jobs/1"),
        ("POST", "queues/nothing/jobs"),
        ("POST", "queues/nothing/jobs/1/retry"),
        ("DELETE", "queues/nothing/jobs/1"),
        ("POST", "queues/nothing/pause"),
        ("POST", "queues/nothing/resume"),
        ("POST", "queues/nothing/clean"),
    ],
)
def test_an_unknown_queue_is_404_with_the_names_that_exist(operator: FlaskClient, method: str, path: str) -> None:
    response = operator.open(f"/admin/jobs/{path}", method=method)
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")
    assert response.get_json()["accepted"] == ["cache-cleanup", "esi-refresh", "historical-data", "token-refresh"]


def test_a_cancelled_job_counts_in_no_rate(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add()
    path = f"/admin/jobs/queues/token-refresh/jobs/{job_id}"
    response = operator.post(f"{path}/cancel", json={"reason": "asked twice"})
    assert response.json == {"success": True, "queueName": "token-refresh", "jobId": job_id, "status": "failed"}
    job = operator.get(path).json
    assert job is not None
    assert (job["outcome"], job["failedReason"]) == ("cancelled", "cancelled: asked twice")
    metrics = operator.get("/admin/jobs/queues/token-refresh").json
    assert metrics is not None
    assert (metrics["failed"], metrics["cancelled"], metrics["failureRate"]) == (0, 1, None)
    assert "asked twice" in operator.get(f"/admin/queues/token-refresh/jobs/{job_id}").text


def test_an_ended_job_cannot_be_cancelled(operator: FlaskClient, app: AdminApp) -> None:
    job_id = app.add()
    app.run_all()
    response = operator.post(f"/admin/jobs/queues/token-refresh/jobs/{job_id}/cancel")
    assert response.status_code == 409
    assert "waiting, delayed or active" in response.text
    assert operator.post("/admin/jobs/queues/token-refresh/jobs/nobody/cancel").status_code == 404
    assert operator.post(f"/admin/jobs/queues/token-refresh/jobs/{job_id}/cancel", json={"why": 1}).status_code == 422


@pytest.mark.parametrize("until", [2**48, 10**15 - 1])
def test_a_time_in_the_far_future_is_a_time_like_any(operator: FlaskClient, until: int) -> None:
    for path in (JOBS, "/admin/queues/esi-refresh"):
        assert operator.get(f"{path}?until={until}&field=character_id=7").status_code == 200
        assert operator.get(f"{path}?since={until}&field=character_id=7").status_code == 200
