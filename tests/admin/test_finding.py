"""Lists of jobs by what they are about, why they failed, and jobs that are added with keys of their own."""

from __future__ import annotations

import json

from flask import Flask
from flask.testing import FlaskClient

from admin.api.jobs import MAX_JOBS
from admin.sizes import MAX_BATCH_BYTES

from .conftest import Parts, with_token

QUEUE = "/admin/jobs/queues/token-refresh"
JOB = {"name": "token-refresh-work", "data": {"character_id": 7}}


def test_jobs_are_found_by_a_field_in_whatever_state_newest_first(ask: FlaskClient, parts: Parts) -> None:
    ended = parts.add(character_id=7)
    parts.run_all()
    parts.add(character_id=8)
    waits = parts.add(character_id=7)
    url = f"{QUEUE}/jobs?status=waiting,completed&field=character_id=7"
    found = ask.get(url).get_json()
    assert {job["id"] for job in found["jobs"]} == {waits, ended}
    assert (found["total"], found["nextCursor"]) == (2, None)
    first = ask.get(f"{url}&limit=1").get_json()
    then = ask.get(f"{url}&limit=1&cursor={first['nextCursor']}").get_json()
    assert [job["id"] for page in (first, then) for job in page["jobs"]] == [waits, ended]
    both = ask.get(f"{url}&field=note=x").get_json()
    assert "jobs cannot be found by field 'note' (accepted: character_id, user_id)" in both["detail"]


def test_a_page_goes_on_after_its_last_job_whatever_came_and_went(ask: FlaskClient, parts: Parts) -> None:
    ids = [parts.add() for _ in range(4)]
    first = ask.get(f"{QUEUE}/jobs?limit=2").get_json()
    parts.queues.get_queue("token-refresh").remove(ids[0])
    then = ask.get(f"{QUEUE}/jobs?limit=2&cursor={first['nextCursor']}").get_json()
    assert [job["id"] for page in (first, then) for job in page["jobs"]] == ids


def test_failures_are_told_by_reason_and_lead_to_their_jobs(ask: FlaskClient, parts: Parts) -> None:
    failed = [parts.add(fail=True) for _ in range(2)]
    parts.run_all()
    (reason,) = ask.get(f"{QUEUE}/failures").get_json()["failures"]
    assert (reason["count"], reason["errorClass"]) == (2, "ValueError")
    assert reason["firstSeen"] <= reason["lastSeen"]
    url = f"{QUEUE}/jobs?status=failed&fingerprint={reason['fingerprint']}"
    assert {job["id"] for job in ask.get(url).get_json()["jobs"]} == set(failed)


def test_what_cannot_be_looked_for_is_refused_with_what_can(ask: FlaskClient) -> None:
    for query, said in (
        ("type=token-refresh-wrok", "did you mean 'token-refresh-work'"),
        ("field=character_id", "name=value"),
        ("fingerprint=x", "hexadecimal digits"),
        ("cursor=x", "a nextCursor of the same list"),
        ("since=x", "a whole number from 0"),
        ("status=waiting&status=failed", "given 2 times"),
    ):
        answer = ask.get(f"{QUEUE}/jobs?{query}")
        assert answer.status_code == 422, query
        assert said in answer.get_json()["detail"]


def test_the_same_call_with_the_same_key_is_one_call(ask: FlaskClient, parts: Parts) -> None:
    headers = {"Idempotency-Key": "order 66"}
    first = ask.post(f"{QUEUE}/jobs", json=JOB, headers=headers)
    again = ask.post(f"{QUEUE}/jobs", json=JOB, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (first.get_json()["new"], again.get_json()["new"]) == (True, False)
    assert first.get_json()["id"] == again.get_json()["id"]
    other = ask.post(f"{QUEUE}/jobs", json={**JOB, "data": {"character_id": 8}}, headers=headers)
    assert other.status_code == 422
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 1
    assert ask.post(f"{QUEUE}/jobs", json=JOB, headers={"Idempotency-Key": ""}).status_code == 422
    ask.delete(f"{QUEUE}/jobs/{first.get_json()['id']}")
    gone = ask.post(f"{QUEUE}/jobs", json=JOB, headers=headers).get_json()
    assert (gone["id"], gone["state"], gone["new"]) == (first.get_json()["id"], "gone", False)


def test_the_id_that_a_caller_chose_is_a_part_of_the_call(ask: FlaskClient) -> None:
    headers = {"Idempotency-Key": "order 67"}
    for job_id, status in (("A1", 201), ("A1", 200), ("A2", 422)):
        answer = ask.post(f"{QUEUE}/jobs", json={**JOB, "opts": {"jobId": job_id}}, headers=headers)
        assert answer.status_code == status


def test_a_unique_job_says_which_one_stands(ask: FlaskClient) -> None:
    unique = {**JOB, "opts": {"uniqueKey": "character 7", "uniqueUntil": "end"}}
    first, again = (ask.post(f"{QUEUE}/jobs", json=unique) for _ in range(2))
    assert (again.status_code, again.get_json()["id"]) == (200, first.get_json()["id"])
    assert (first.get_json()["priority"], again.get_json()["priority"]) == (2, None)
    replaced = ask.post(f"{QUEUE}/jobs", json={**JOB, "opts": {**unique["opts"], "uniqueReplace": True}})
    assert replaced.status_code == 201
    assert ask.get(f"{QUEUE}/jobs/{first.get_json()['id']}").status_code == 404


def test_many_jobs_are_added_all_or_none(ask: FlaskClient, parts: Parts) -> None:
    jobs = [{"name": "token-refresh-work", "data": {"character_id": number}} for number in range(300)]
    wrong = ask.post(f"{QUEUE}/batch", json={"jobs": [*jobs, {**JOB, "data": {}}]})
    assert wrong.status_code == 422
    assert "jobs[300]: wrong data for job type" in wrong.get_json()["detail"]
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 0
    added = ask.post(f"{QUEUE}/batch", json={"jobs": jobs})
    assert added.status_code == 201
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 300
    ids = [job["id"] for job in added.get_json()["jobs"]]
    assert ask.get(f"{QUEUE}/jobs/{ids[42]}").get_json()["data"] == {"character_id": 42}
    assert "from 1 to" in ask.post(f"{QUEUE}/batch", json={"jobs": []}).get_json()["detail"].replace(
        "of 1 to", "from 1 to"
    )


def test_a_batch_that_is_repeated_adds_nothing_twice_when_it_says_so(ask: FlaskClient, parts: Parts) -> None:
    jobs = [{**JOB, "opts": {"jobId": f"order-{number}"}} for number in range(3)]
    keyed = ask.post(f"{QUEUE}/batch", json={"jobs": jobs}, headers={"Idempotency-Key": "order 1"})
    assert keyed.status_code == 422
    assert "accepted: a jobId for each job, and once: true" in keyed.get_json()["detail"]
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 0
    first = ask.post(f"{QUEUE}/batch", json={"jobs": jobs, "once": True})
    parts.run_all()
    again = ask.post(f"{QUEUE}/batch", json={"jobs": jobs, "once": True})
    assert (first.status_code, again.status_code) == (201, 200)
    assert [(job["state"], job["new"]) for job in again.get_json()["jobs"]] == [("completed", False)] * 3
    some = ask.post(f"{QUEUE}/batch", json={"jobs": [*jobs, JOB], "once": True})
    assert (some.status_code, "jobs[3] has no jobId" in some.get_json()["detail"]) == (422, True)


def test_a_batch_takes_as_many_jobs_as_it_says(bare: Flask, parts: Parts) -> None:
    ask = with_token(bare, parts)
    job = {"name": "token-refresh-work", "data": {"character_id": 90_000_001, "note": "n" * 400}}
    options = {"priority": 3, "attempts": 5, "backoff": {"type": "exponential", "delay": 2000}, "delay": 0}
    jobs = [{**job, "opts": {**options, "uniqueKey": f"refresh:{number}"}} for number in range(MAX_JOBS)]
    added = ask.post(f"{QUEUE}/batch", json={"jobs": jobs})
    assert added.status_code == 201
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == MAX_JOBS
    # Not the whole of it, and not slowly either.
    (entry,) = parts.store.audit.read(1)[0]
    kept = json.loads(str(entry.body))["jobs"]
    assert kept[-1] == f"and {MAX_JOBS - len(kept) + 1} more"
    too_many = ask.post(f"{QUEUE}/batch", json={"jobs": [JOB] * (MAX_JOBS + 1)})
    assert too_many.status_code == 422
    large = ask.post(f"{QUEUE}/batch", data=b" " * (MAX_BATCH_BYTES + 1), content_type="application/json")
    assert large.status_code == 413


def test_an_id_that_addresses_would_fold_is_refused(ask: FlaskClient) -> None:
    for job_id in (".", ".."):
        answer = ask.post(f"{QUEUE}/jobs", json={**JOB, "opts": {"jobId": job_id}})
        assert answer.status_code == 422
        assert "are not '.' or '..'" in answer.get_json()["detail"]
