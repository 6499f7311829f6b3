"""Jobs over HTTP: lists, one job, adding, and what an operator does to them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from .conftest import Parts, gate

JOBS = "/admin/jobs/queues/token-refresh/jobs"


def test_a_job_is_added_and_then_shown(ask: FlaskClient, parts: Parts) -> None:
    options = {"priority": 1, "attempts": 4, "backoff": {"type": "fixed", "delay": 50}}
    body = {"name": "token-refresh-work", "data": {"character_id": 7}, "opts": {**options, "delay": None}}
    answer = ask.post(JOBS, json=body)
    assert answer.status_code == 201
    added = answer.get_json()
    job_id = added.pop("id")
    assert added == {
        "name": "token-refresh-work",
        "queueName": "token-refresh",
        "state": "waiting",
        "priority": 1,
        "new": True,
    }
    shown = ask.get(f"{JOBS}/{job_id}").get_json()
    job = parts.queues.get_queue("token-refresh").get(job_id)
    assert job is not None
    assert shown == job.as_json()
    assert shown["data"] == {"character_id": 7}
    assert shown["opts"] == {**options, "delay": 0}
    assert shown["requestedBy"] == "local"


def test_a_delayed_job_is_added_as_delayed(ask: FlaskClient) -> None:
    body = {"name": "token-refresh-work", "data": {"character_id": 7}, "opts": {"delay": 60_000}}
    added = ask.post(JOBS, json=body).get_json()
    assert (added["state"], added["priority"]) == ("delayed", 2)


@pytest.mark.parametrize(
    ("body", "said"),
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
        ({"name": "token-refresh-work", "data": {"character_id": 1}, "opts": {"backoff": 5}}, "unusable backoff 5"),
        ([], "the body is not an object"),
    ],
)
def test_a_wrong_job_is_refused_with_what_is_accepted(ask: FlaskClient, parts: Parts, body: object, said: str) -> None:
    answer = ask.post(JOBS, json=body)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    told = answer.get_json()
    assert_says(told["detail"], said)
    assert told["accepted"]
    assert sum(parts.queues.get_queue("token-refresh").counts().values()) == 0


def assert_says(detail: str, said: str) -> None:
    assert re.search(said, detail), detail


@pytest.mark.parametrize("raw", [b"{", b"nothing", b'{"name": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(ask: FlaskClient, raw: bytes) -> None:
    answer = ask.post(JOBS, data=raw, content_type="application/json")
    assert answer.status_code == 422
    assert "the body is not JSON" in answer.get_json()["detail"]


def test_a_body_of_another_kind_is_refused(ask: FlaskClient) -> None:
    answer = ask.post(JOBS, data={"name": "token-refresh-work"})
    assert answer.status_code == 422
    assert answer.get_json()["accepted"] == ["application/json"]


def test_a_body_too_large_is_refused(ask: FlaskClient) -> None:
    answer = ask.post(JOBS, data=b" " * 1_048_577, content_type="application/json")
    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")


def test_jobs_are_listed_by_state_page_by_page(ask: FlaskClient, parts: Parts) -> None:
    ids = [parts.add() for _ in range(12)]
    first = ask.get(JOBS).get_json()
    assert [job["id"] for job in first["jobs"]] == ids[:10]
    assert (first["total"], first["totalIsExact"]) == (12, True)
    rest = ask.get(f"{JOBS}?status=waiting&cursor={first['nextCursor']}").get_json()
    assert [job["id"] for job in rest["jobs"]] == ids[10:]
    assert rest["nextCursor"] is None
    assert ask.get(f"{JOBS}?status=completed").get_json() == {
        "jobs": [],
        "total": 0,
        "totalIsExact": True,
        "nextCursor": None,
    }


def test_several_states_are_listed_one_after_another(ask: FlaskClient, parts: Parts) -> None:
    failed = parts.add(fail=True)
    parts.run_all()
    waiting = parts.add()
    answer = ask.get(f"{JOBS}?status=waiting,failed&limit=1").get_json()
    assert ([job["id"] for job in answer["jobs"]], answer["total"]) == ([waiting], 2)
    answer = ask.get(f"{JOBS}?status=waiting,failed&limit=1&cursor={answer['nextCursor']}").get_json()
    assert ([job["id"] for job in answer["jobs"]], answer["nextCursor"]) == ([failed], None)


@pytest.mark.parametrize(
    ("query", "said"),
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
def test_a_wrong_query_is_refused_with_what_is_accepted(ask: FlaskClient, query: str, said: str) -> None:
    answer = ask.get(f"{JOBS}?{query}")
    assert answer.status_code == 422
    assert_says(answer.get_json()["detail"], said)


def test_failed_jobs_of_all_queues_are_listed_with_their_reasons(ask: FlaskClient, parts: Parts) -> None:
    one, two = parts.add(fail=True), parts.add("esi-refresh", fail=True)
    parts.run_all()
    parts.run_all("esi-refresh")
    answer = ask.get("/admin/jobs/failed?limit=50").get_json()
    assert answer["total"] == 2
    assert {job["jobId"] for job in answer["jobs"]} == {one, two}
    assert {job["failedReason"] for job in answer["jobs"]} == {"ValueError: ESI said 404 <b>not found</b>"}
    assert len(ask.get("/admin/jobs/failed?limit=1").get_json()["jobs"]) == 1


def test_failed_jobs_of_all_queues_are_listed_page_by_page_and_cancelled_ones_when_asked_for(
    ask: FlaskClient, parts: Parts
) -> None:
    failed = [parts.add(queue, fail=True) for queue in ("token-refresh", "esi-refresh") for _ in range(3)]
    for queue in ("token-refresh", "esi-refresh"):
        parts.run_all(queue)
    cancelled = [parts.add("cache-cleanup") for _ in range(12)]
    for job_id in cancelled:
        parts.queues.get_queue("cache-cleanup").cancel(job_id)

    def pages(path: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            told = ask.get(f"{path}&limit=4&cursor={cursor}").get_json()
            found += [job["jobId"] for job in told["jobs"]]
            if told["nextCursor"] is None:
                return found
            cursor = told["nextCursor"]

    url = "/admin/jobs/failed"
    assert ask.get(url).get_json()["total"] == 6
    assert sorted(pages(f"{url}?")) == sorted(failed)
    assert sorted(pages(f"{url}?outcome=cancelled")) == sorted(cancelled)
    assert sorted(pages(f"{url}?outcome=failed,cancelled")) == sorted(failed + cancelled)
    for query, said in (("outcome=completed", "failed, cancelled"), ("cursor=x", "a nextCursor of the same list")):
        answer = ask.get(f"{url}?{query}")
        assert (answer.status_code, said in answer.get_json()["detail"]) == (422, True)
    jobs = "/admin/jobs/queues/cache-cleanup/jobs"
    assert ask.get(f"{jobs}?outcome=cancelled").get_json()["total"] == 12
    assert ask.get(f"{jobs}?status=failed&outcome=failed").get_json()["jobs"] == []


def test_a_fingerprint_or_an_outcome_alone_says_the_state(ask: FlaskClient, parts: Parts) -> None:
    failed = parts.add(fail=True)
    parts.add()
    parts.run_all()
    (reason,) = ask.get(f"{JOBS.removesuffix('jobs')}failures").get_json()["failures"]
    for query, ids in ((f"fingerprint={reason['fingerprint']}", [failed]), ("outcome=failed", [failed])):
        assert [job["id"] for job in ask.get(f"{JOBS}?{query}").get_json()["jobs"]] == ids
    assert len(ask.get(f"{JOBS}?outcome=completed,failed").get_json()["jobs"]) == 2
    assert ask.get(f"{JOBS}?outcome=lost").status_code == 422


@pytest.mark.usefixtures("serving")
def test_running_jobs_are_listed_and_cannot_be_removed(
    ask: FlaskClient, parts: Parts, wait_until: Callable[..., None]
) -> None:
    job_id = parts.add(wait=True)
    wait_until(lambda: ask.get("/admin/jobs/active").get_json()["total"] == 1)
    (job,) = ask.get("/admin/jobs/active").get_json()["jobs"]
    assert (job["id"], job["status"]) == (job_id, "active")
    # Whoever must stop the worker learns here which one it is.
    (worker,) = parts.queues.get_queue(job["queueName"]).snapshot().workers
    assert (job["worker"], job["timeline"][-1]["worker"]) == (worker.name, worker.name)
    page = ask.get(f"/admin/queues/{job['queueName']}/jobs/{job_id}").text
    assert f"Runs on</dt><dd><code>{worker.name}</code>" in page
    answer = ask.delete(f"{JOBS}/{job_id}")
    assert answer.status_code == 409
    assert "is active; only a job that is waiting, delayed, completed or failed" in answer.get_json()["detail"]
    gate.set()


def test_a_failed_job_is_retried(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add(fail=True)
    parts.run_all()
    answer = ask.post(f"{JOBS}/{job_id}/retry", json={})
    assert (answer.status_code, answer.get_json()) == (
        200,
        {"success": True, "queueName": "token-refresh", "jobId": job_id, "status": "waiting"},
    )
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 1
    assert ask.post(f"{JOBS}/{job_id}/retry").status_code == 409


def test_a_job_is_removed_once(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add()
    answer = ask.delete(f"{JOBS}/{job_id}")
    assert (answer.status_code, answer.get_json()) == (
        200,
        {"success": True, "queueName": "token-refresh", "jobId": job_id, "removed": 1},
    )
    again = ask.delete(f"{JOBS}/{job_id}")
    assert (again.status_code, again.get_json()["title"]) == (404, "Not Found")
    assert ask.get(f"{JOBS}/{job_id}").status_code == 404


def test_a_job_whose_id_holds_slashes_is_found_retried_and_removed(ask: FlaskClient, parts: Parts) -> None:
    parts.queues.add_job("token-refresh", "token-refresh-work", {"character_id": 1}, job_id="a//retry é")
    parts.run_all()
    path = f"{JOBS}/a%2F%2Fretry%20%C3%A9"
    assert ask.get(path).get_json()["id"] == "a//retry é"
    assert ask.post(f"{path}/retry").status_code == 200
    assert ask.delete(path).status_code == 200


def test_a_paused_queue_starts_nothing_until_it_is_resumed(ask: FlaskClient, parts: Parts) -> None:
    parts.add()
    queue = "/admin/jobs/queues/token-refresh"
    assert ask.post(f"{queue}/pause").get_json() == {
        "success": True,
        "queueName": "token-refresh",
        "status": "paused",
    }
    assert parts.queues.get_queue("token-refresh").snapshot().is_paused
    assert ask.get(f"{JOBS}?status=paused").get_json()["total"] == 1
    assert ask.post(f"{queue}/resume").get_json()["status"] == "running"
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused


def test_clean_removes_what_ended_long_enough_ago(ask: FlaskClient, parts: Parts) -> None:
    for _ in range(3):
        parts.add()
    parts.run_all()
    clean = "/admin/jobs/queues/token-refresh/clean"
    assert ask.post(clean).get_json()["removed"] == 0
    assert ask.post(clean, json={"grace": 0, "status": "failed"}).get_json()["removed"] == 0
    answer = ask.post(clean, json={"grace": 0, "status": "completed", "limit": 2})
    assert (answer.status_code, answer.get_json()) == (
        200,
        {"success": True, "queueName": "token-refresh", "status": "completed", "removed": 2},
    )
    assert parts.queues.get_queue("token-refresh").counts()["completed"] == 1


@pytest.mark.parametrize(
    ("body", "said"),
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
def test_a_wrong_clean_is_refused_and_removes_nothing(ask: FlaskClient, parts: Parts, body: object, said: str) -> None:
    parts.add()
    parts.run_all()
    answer = ask.post("/admin/jobs/queues/token-refresh/clean", json=body)
    assert answer.status_code == 422
    assert_says(answer.get_json()["detail"], said)
    assert parts.queues.get_queue("token-refresh").counts()["completed"] == 1


def test_an_action_takes_no_options(ask: FlaskClient) -> None:
    answer = ask.post("/admin/jobs/queues/token-refresh/pause", json={"for": "1h"})
    assert answer.status_code == 422


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
def test_an_unknown_queue_is_404_with_the_names_that_exist(ask: FlaskClient, method: str, path: str) -> None:
    answer = ask.open(f"/admin/jobs/{path}", method=method)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.get_json()["accepted"] == ["cache-cleanup", "esi-refresh", "historical-data", "token-refresh"]


def test_a_waiting_job_is_cancelled_and_is_in_no_rate(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add()
    path = f"/admin/jobs/queues/token-refresh/jobs/{job_id}"
    answer = ask.post(f"{path}/cancel", json={"reason": "asked twice"})
    assert answer.json == {"success": True, "queueName": "token-refresh", "jobId": job_id, "status": "failed"}
    job = ask.get(path).json
    assert job is not None
    assert (job["outcome"], job["failedReason"]) == ("cancelled", "cancelled: asked twice")
    metrics = ask.get("/admin/jobs/queues/token-refresh").json
    assert metrics is not None
    assert (metrics["failed"], metrics["cancelled"], metrics["failureRate"]) == (0, 1, None)
    assert "asked twice" in ask.get(f"/admin/queues/token-refresh/jobs/{job_id}").text


def test_what_has_ended_cannot_be_cancelled(ask: FlaskClient, parts: Parts) -> None:
    job_id = parts.add()
    parts.run_all()
    answer = ask.post(f"/admin/jobs/queues/token-refresh/jobs/{job_id}/cancel")
    assert answer.status_code == 409
    assert "waiting, delayed or active" in answer.text
    assert ask.post("/admin/jobs/queues/token-refresh/jobs/nobody/cancel").status_code == 404
    assert ask.post(f"/admin/jobs/queues/token-refresh/jobs/{job_id}/cancel", json={"why": 1}).status_code == 422
