"""Bulk operations through the API, executed by the admin's runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from nomad_actors.queues.bulk import Runner

from .conftest import AdminApp

QUEUE = "/admin/jobs/queues/token-refresh"


@pytest.fixture
def runner(app: AdminApp) -> Iterator[Runner]:
    """The runner that the admin starts."""
    runner = Runner(app.queues)
    runner.start()
    yield runner
    runner.close()


def test_a_bulk_request_is_a_dry_run_by_default(operator: FlaskClient, app: AdminApp) -> None:
    for number in range(3):
        app.add(character_id=number % 2)
    body = {"action": "remove", "filter": {"fields": {"character_id": "0"}}}
    counted = operator.post(f"{QUEUE}/bulk", json=body)
    assert (counted.status_code, counted.get_json()["count"]) == (200, 2)
    assert operator.get("/admin/jobs/bulk").get_json() == {"operations": []}
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 3


def test_the_runner_finishes_an_operation(
    operator: FlaskClient, app: AdminApp, runner: Runner, wait_until: Callable[..., None]
) -> None:
    for number in range(250):
        app.add(character_id=number % 2)
    body = {"action": "cancel", "filter": {"fields": {"character_id": "0"}}, "reason": "gone", "dryRun": False}
    started = operator.post(f"{QUEUE}/bulk", json={**body, "perSecond": 5000})
    assert started.status_code == 202
    operation = started.get_json()
    assert (operation["state"], operation["total"], operation["by"]) == ("running", 125, "local")
    url = f"{QUEUE}/bulk/{operation['id']}"
    wait_until(lambda: operator.get(url).get_json()["state"] == "finished", timeout_seconds=15)
    assert operator.get(url).get_json()["done"] == 125
    assert app.queues.get_queue("token-refresh").counts()["waiting"] == 125
    assert [each["id"] for each in operator.get("/admin/jobs/bulk").get_json()["operations"]] == [operation["id"]]


def test_an_operation_is_stopped_and_resumed(
    operator: FlaskClient, app: AdminApp, runner: Runner, wait_until: Callable[..., None]
) -> None:
    for _ in range(30):
        app.add()
    body = {"action": "remove", "filter": {"status": ["waiting"]}, "perSecond": 2, "dryRun": False}
    url = f"{QUEUE}/bulk/{operator.post(f'{QUEUE}/bulk', json=body).get_json()['id']}"
    wait_until(lambda: operator.get(url).get_json()["done"] > 0, timeout_seconds=15)
    assert operator.post(f"{url}/stop").get_json()["state"] == "stopped"
    left = app.queues.get_queue("token-refresh").counts()["waiting"]
    assert 0 < left < 30
    assert operator.post(f"{url}/stop").status_code == 409
    assert operator.post(f"{url}/resume").get_json()["state"] == "running"
    wait_until(lambda: app.queues.get_queue("token-refresh").counts()["waiting"] < left, timeout_seconds=15)
    operator.post(f"{url}/stop")


def test_an_unlimited_or_impossible_operation_is_refused(operator: FlaskClient) -> None:
    for body, message in (
        ({"action": "remove"}, "nothing selects the jobs to remove"),
        ({"action": "explode"}, "retry, remove, promote, cancel"),
        ({"action": "retry", "filter": {"status": ["active"]}}, "retry does not take jobs that are 'active'"),
        ({"action": "retry", "filter": {"feilds": {}}}, "unknown field 'feilds'"),
        (
            {"action": "retry", "filter": {"fields": {"character_id": 7}}},
            "character_id is 7 (allowed: text of 0 to 500 characters)",
        ),
        ({"action": "retry", "perSecond": 0}, "from 1 to 5000"),
    ):
        response = operator.post(f"{QUEUE}/bulk", json=body)
        assert response.status_code == 422, body
        assert message in response.get_json()["detail"]
    assert operator.get(f"{QUEUE}/bulk/none").status_code == 404


def test_reasons_and_filters_have_a_maximum_length(operator: FlaskClient, app: AdminApp) -> None:
    long = "x" * 501
    for path, body in (
        ("bulk", {"action": "retry", "reason": long}),
        ("bulk", {"action": "retry", "filter": {"fields": {"character_id": long}}}),
        ("bulk", {"action": "retry", "filter": {"fields": {f"f{number}": "1" for number in range(21)}}}),
        (f"jobs/{app.add()}/cancel", {"reason": long}),
    ):
        response = operator.post(f"{QUEUE}/{path}", json=body)
        assert response.status_code == 422, body
    assert operator.get(f"{QUEUE}/jobs?field=character_id%3D{long}").status_code == 422
    assert operator.post(f"{QUEUE}/bulk", json={"action": "retry", "reason": long[1:]}).status_code == 200


def test_an_operation_filters_jobs_by_outcome(
    operator: FlaskClient, app: AdminApp, runner: Runner, wait_until: Callable[..., None]
) -> None:
    app.add(fail=True)
    app.run_all()
    cancelled = [app.add() for _ in range(3)]
    for job_id in cancelled:
        app.queues.get_queue("token-refresh").cancel(job_id)
    body = {"action": "remove", "filter": {"outcome": ["cancelled"]}}
    counted = operator.post(f"{QUEUE}/bulk", json=body).get_json()
    assert (counted["count"], counted["isExact"]) == (3, True)
    started = operator.post(f"{QUEUE}/bulk", json={**body, "dryRun": False}).get_json()
    assert started["filter"]["outcome"] == ["cancelled"]
    url = f"{QUEUE}/bulk/{started['id']}"
    wait_until(lambda: operator.get(url).get_json()["state"] == "finished", timeout_seconds=15)
    assert operator.get(url).get_json()["done"] == 3
    assert [job.outcome for job in app.queues.get_queue("token-refresh").jobs("failed")] == ["failed"]
    assert operator.post(f"{QUEUE}/bulk", json={"action": "remove", "filter": {"outcome": ["lost"]}}).status_code == 422
