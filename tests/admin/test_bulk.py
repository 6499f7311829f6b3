"""Bulk operations through the API, done by the admin's own runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from nomad_actors.queues.bulk import Runner

from .conftest import Parts

QUEUE = "/admin/jobs/queues/token-refresh"


@pytest.fixture
def runner(parts: Parts) -> Iterator[Runner]:
    """What the admin starts beside its requests."""
    runner = Runner(parts.queues)
    runner.start()
    yield runner
    runner.close()


def test_an_action_is_only_counted_until_it_is_said_not_to(ask: FlaskClient, parts: Parts) -> None:
    for number in range(3):
        parts.add(character_id=number % 2)
    wanted = {"action": "remove", "filter": {"fields": {"character_id": "0"}}}
    counted = ask.post(f"{QUEUE}/bulk", json=wanted)
    assert (counted.status_code, counted.get_json()["count"]) == (200, 2)
    assert ask.get("/admin/jobs/bulk").get_json() == {"operations": []}
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 3


def test_an_operation_is_begun_and_finished_by_the_runner(
    ask: FlaskClient, parts: Parts, runner: Runner, wait_until: Callable[..., None]
) -> None:
    for number in range(250):
        parts.add(character_id=number % 2)
    wanted = {"action": "cancel", "filter": {"fields": {"character_id": "0"}}, "reason": "gone", "dryRun": False}
    begun = ask.post(f"{QUEUE}/bulk", json={**wanted, "perSecond": 5000})
    assert begun.status_code == 202
    told = begun.get_json()
    assert (told["state"], told["total"], told["by"]) == ("running", 125, "local")
    url = f"{QUEUE}/bulk/{told['id']}"
    wait_until(lambda: ask.get(url).get_json()["state"] == "finished", timeout_seconds=15)
    assert ask.get(url).get_json()["done"] == 125
    assert parts.queues.get_queue("token-refresh").counts()["waiting"] == 125
    assert [each["id"] for each in ask.get("/admin/jobs/bulk").get_json()["operations"]] == [told["id"]]


def test_an_operation_is_stopped_and_goes_on(
    ask: FlaskClient, parts: Parts, runner: Runner, wait_until: Callable[..., None]
) -> None:
    for _ in range(30):
        parts.add()
    wanted = {"action": "remove", "filter": {"status": ["waiting"]}, "perSecond": 2, "dryRun": False}
    url = f"{QUEUE}/bulk/{ask.post(f'{QUEUE}/bulk', json=wanted).get_json()['id']}"
    wait_until(lambda: ask.get(url).get_json()["done"] > 0, timeout_seconds=15)
    assert ask.post(f"{url}/stop").get_json()["state"] == "stopped"
    left = parts.queues.get_queue("token-refresh").counts()["waiting"]
    assert 0 < left < 30
    assert ask.post(f"{url}/stop").status_code == 409
    assert ask.post(f"{url}/resume").get_json()["state"] == "running"
    wait_until(lambda: parts.queues.get_queue("token-refresh").counts()["waiting"] < left, timeout_seconds=15)
    ask.post(f"{url}/stop")


def test_what_would_be_meant_for_everything_or_cannot_be_is_refused(ask: FlaskClient) -> None:
    for wanted, said in (
        ({"action": "remove"}, "nothing selects the jobs to remove"),
        ({"action": "explode"}, "retry, remove, promote, cancel"),
        ({"action": "retry", "filter": {"status": ["active"]}}, "retry does not take jobs that are 'active'"),
        ({"action": "retry", "filter": {"feilds": {}}}, "unknown field 'feilds'"),
        (
            {"action": "retry", "filter": {"fields": {"character_id": 7}}},
            "character_id is 7 (accepted: text of 0 to 500 characters)",
        ),
        ({"action": "retry", "perSecond": 0}, "from 1 to 5000"),
    ):
        answer = ask.post(f"{QUEUE}/bulk", json=wanted)
        assert answer.status_code == 422, wanted
        assert said in answer.get_json()["detail"]
    assert ask.get(f"{QUEUE}/bulk/none").status_code == 404


def test_what_an_operator_says_is_bounded(ask: FlaskClient, parts: Parts) -> None:
    long = "x" * 501
    for path, wanted in (
        ("bulk", {"action": "retry", "reason": long}),
        ("bulk", {"action": "retry", "filter": {"fields": {"character_id": long}}}),
        ("bulk", {"action": "retry", "filter": {"fields": {f"f{number}": "1" for number in range(21)}}}),
        (f"jobs/{parts.add()}/cancel", {"reason": long}),
    ):
        answer = ask.post(f"{QUEUE}/{path}", json=wanted)
        assert answer.status_code == 422, wanted
    assert ask.get(f"{QUEUE}/jobs?field=character_id%3D{long}").status_code == 422
    assert ask.post(f"{QUEUE}/bulk", json={"action": "retry", "reason": long[1:]}).status_code == 200


def test_an_action_is_meant_for_jobs_by_how_they_ended(
    ask: FlaskClient, parts: Parts, runner: Runner, wait_until: Callable[..., None]
) -> None:
    parts.add(fail=True)
    parts.run_all()
    cancelled = [parts.add() for _ in range(3)]
    for job_id in cancelled:
        parts.queues.get_queue("token-refresh").cancel(job_id)
    wanted = {"action": "remove", "filter": {"outcome": ["cancelled"]}}
    counted = ask.post(f"{QUEUE}/bulk", json=wanted).get_json()
    assert (counted["count"], counted["isExact"]) == (3, True)
    begun = ask.post(f"{QUEUE}/bulk", json={**wanted, "dryRun": False}).get_json()
    assert begun["filter"]["outcome"] == ["cancelled"]
    url = f"{QUEUE}/bulk/{begun['id']}"
    wait_until(lambda: ask.get(url).get_json()["state"] == "finished", timeout_seconds=15)
    assert ask.get(url).get_json()["done"] == 3
    assert [job.outcome for job in parts.queues.get_queue("token-refresh").jobs("failed")] == ["failed"]
    assert ask.post(f"{QUEUE}/bulk", json={"action": "remove", "filter": {"outcome": ["lost"]}}).status_code == 422
