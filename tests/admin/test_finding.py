"""Filtered job lists, failure groups, idempotency keys, unique jobs and batches."""

from __future__ import annotations

import json

from flask import Flask
from flask.testing import FlaskClient

from admin.api.jobs import MAX_JOBS
from admin.inputs import MAX_BATCH_BYTES

from .conftest import AdminApp, operator_client

QUEUE = "/admin/jobs/queues/token-refresh"
JOB = {"name": "token-refresh-work", "data": {"character_id": 7}}


def test_jobs_of_any_state_are_found_by_a_field_newest_first(operator: FlaskClient, app: AdminApp) -> None:
    ended = app.add(character_id=7)
    app.run_all()
    app.add(character_id=8)
    waiting = app.add(character_id=7)
    url = f"{QUEUE}/jobs?status=waiting,completed&field=character_id=7"
    found = operator.get(url).get_json()
    assert {job["id"] for job in found["jobs"]} == {waiting, ended}
    assert (found["total"], found["nextCursor"]) == (2, None)
    first = operator.get(f"{url}&limit=1").get_json()
    next_page = operator.get(f"{url}&limit=1&cursor={first['nextCursor']}").get_json()
    assert [job["id"] for page in (first, next_page) for job in page["jobs"]] == [waiting, ended]
    both = operator.get(f"{url}&field=note=x").get_json()
    assert "jobs cannot be found by field 'note' (allowed: character_id, user_id)" in both["detail"]


def test_the_next_page_continues_after_the_last_job_despite_changes(operator: FlaskClient, app: AdminApp) -> None:
    ids = [app.add() for _ in range(4)]
    first = operator.get(f"{QUEUE}/jobs?limit=2").get_json()
    app.queues.get_queue("token-refresh").remove(ids[0])
    next_page = operator.get(f"{QUEUE}/jobs?limit=2&cursor={first['nextCursor']}").get_json()
    assert [job["id"] for page in (first, next_page) for job in page["jobs"]] == ids


def test_failures_are_grouped_by_reason_and_lead_to_their_jobs(operator: FlaskClient, app: AdminApp) -> None:
    failed = [app.add(fail=True) for _ in range(2)]
    app.run_all()
    (reason,) = operator.get(f"{QUEUE}/failures").get_json()["failures"]
    assert (reason["count"], reason["errorClass"]) == (2, "ValueError")
    assert reason["firstSeen"] <= reason["lastSeen"]
    url = f"{QUEUE}/jobs?status=failed&fingerprint={reason['fingerprint']}"
    assert {job["id"] for job in operator.get(url).get_json()["jobs"]} == set(failed)


def test_an_invalid_filter_is_refused_with_the_accepted_values(operator: FlaskClient) -> None:
    for query, message in (
        ("type=token-refresh-wrok", "did you mean 'token-refresh-work'"),
        ("field=character_id", "name=value"),
        ("fingerprint=x", "hexadecimal digits"),
        ("cursor=x", "a nextCursor of the same list"),
        ("since=x", "a whole number from 0"),
        ("status=waiting&status=failed", "given 2 times"),
    ):
        response = operator.get(f"{QUEUE}/jobs?{query}")
        assert response.status_code == 422, query
        assert message in response.get_json()["detail"]


def test_the_same_request_with_the_same_key_adds_one_job(operator: FlaskClient, app: AdminApp) -> None:
    headers = {"Idempotency-Key": "order 66"}
    first = operator.post(f"{QUEUE}/jobs", json=JOB, headers=headers)
    repeated = operator.post(f"{QUEUE}/jobs", json=JOB, headers=headers)
    assert (first.status_code, repeated.status_code) == (201, 200)
    assert (first.get_json()["new"], repeated.get_json()["new"]) == (True, False)
    assert first.get_json()["id"] == repeated.get_json()["id"]
    other = operator.post(f"{QUEUE}/jobs", json={**JOB, "data": {"character_id": 8}}, headers=headers)
    assert other.status_code == 422
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 1
    assert operator.post(f"{QUEUE}/jobs", json=JOB, headers={"Idempotency-Key": ""}).status_code == 422
    operator.delete(f"{QUEUE}/jobs/{first.get_json()['id']}")
    gone = operator.post(f"{QUEUE}/jobs", json=JOB, headers=headers).get_json()
    assert (gone["id"], gone["state"], gone["new"]) == (first.get_json()["id"], "gone", False)


def test_an_idempotency_key_covers_the_chosen_job_id(operator: FlaskClient) -> None:
    headers = {"Idempotency-Key": "order 67"}
    for job_id, status in (("A1", 201), ("A1", 200), ("A2", 422)):
        response = operator.post(f"{QUEUE}/jobs", json={**JOB, "opts": {"jobId": job_id}}, headers=headers)
        assert response.status_code == status


def test_a_duplicate_of_a_unique_job_returns_the_existing_one(operator: FlaskClient) -> None:
    unique = {**JOB, "opts": {"uniqueKey": "character 7", "uniqueUntil": "end"}}
    first, repeated = (operator.post(f"{QUEUE}/jobs", json=unique) for _ in range(2))
    assert (repeated.status_code, repeated.get_json()["id"]) == (200, first.get_json()["id"])
    assert (first.get_json()["priority"], repeated.get_json()["priority"]) == (2, None)
    replaced = operator.post(f"{QUEUE}/jobs", json={**JOB, "opts": {**unique["opts"], "uniqueReplace": True}})
    assert replaced.status_code == 201
    assert operator.get(f"{QUEUE}/jobs/{first.get_json()['id']}").status_code == 404


def test_a_batch_is_added_completely_or_not_at_all(operator: FlaskClient, app: AdminApp) -> None:
    jobs = [{"name": "token-refresh-work", "data": {"character_id": number}} for number in range(300)]
    wrong = operator.post(f"{QUEUE}/batch", json={"jobs": [*jobs, {**JOB, "data": {}}]})
    assert wrong.status_code == 422
    assert "jobs[300]: wrong data for job type" in wrong.get_json()["detail"]
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 0
    added = operator.post(f"{QUEUE}/batch", json={"jobs": jobs})
    assert added.status_code == 201
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 300
    ids = [job["id"] for job in added.get_json()["jobs"]]
    assert operator.get(f"{QUEUE}/jobs/{ids[42]}").get_json()["data"] == {"character_id": 42}
    assert "from 1 to" in operator.post(f"{QUEUE}/batch", json={"jobs": []}).get_json()["detail"].replace(
        "of 1 to", "from 1 to"
    )


def test_a_repeated_batch_with_once_adds_no_job_twice(operator: FlaskClient, app: AdminApp) -> None:
    jobs = [{**JOB, "opts": {"jobId": f"order-{number}"}} for number in range(3)]
    keyed = operator.post(f"{QUEUE}/batch", json={"jobs": jobs}, headers={"Idempotency-Key": "order 1"})
    assert keyed.status_code == 422
    assert "allowed: a jobId for each job and `once`: true" in keyed.get_json()["detail"]
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 0
    first = operator.post(f"{QUEUE}/batch", json={"jobs": jobs, "once": True})
    app.run_all()
    repeated = operator.post(f"{QUEUE}/batch", json={"jobs": jobs, "once": True})
    assert (first.status_code, repeated.status_code) == (201, 200)
    assert [(job["state"], job["new"]) for job in repeated.get_json()["jobs"]] == [("completed", False)] * 3
    some = operator.post(f"{QUEUE}/batch", json={"jobs": [*jobs, JOB], "once": True})
    assert (some.status_code, "jobs[3] has no jobId" in some.get_json()["detail"]) == (422, True)


def test_a_batch_accepts_the_maximum_number_of_jobs(unchecked_web: Flask, app: AdminApp) -> None:
    operator = operator_client(unchecked_web, app)
    job = {"name": "token-refresh-work", "data": {"character_id": 90_000_001, "note": "n" * 400}}
    options = {"priority": 3, "attempts": 5, "backoff": {"type": "exponential", "delay": 2000}, "delay": 0}
    jobs = [{**job, "opts": {**options, "uniqueKey": f"refresh:{number}"}} for number in range(MAX_JOBS)]
    added = operator.post(f"{QUEUE}/batch", json={"jobs": jobs})
    assert added.status_code == 201
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == MAX_JOBS
    # The audit log stores a part of the body.
    (entry,) = app.store.audit.read(1)[0]
    stored = json.loads(str(entry.body))["jobs"]
    assert stored[-1] == f"and {MAX_JOBS - len(stored) + 1} more"
    too_many = operator.post(f"{QUEUE}/batch", json={"jobs": [JOB] * (MAX_JOBS + 1)})
    assert too_many.status_code == 422
    large = operator.post(f"{QUEUE}/batch", data=b" " * (MAX_BATCH_BYTES + 1), content_type="application/json")
    assert large.status_code == 413


def test_an_id_that_urls_would_normalise_is_refused(operator: FlaskClient) -> None:
    for job_id in (".", ".."):
        response = operator.post(f"{QUEUE}/jobs", json={**JOB, "opts": {"jobId": job_id}})
        assert response.status_code == 422
        assert "are not '.' or '..'" in response.get_json()["detail"]
