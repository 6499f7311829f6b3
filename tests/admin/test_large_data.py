"""Huge or deeply nested data: pages stay small and link to the as_json data, and nothing fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dramatiq import Message
from flask.testing import FlaskClient

from .conftest import AdminApp

QUEUE = "/admin/queues/token-refresh"
API = "/admin/jobs/queues/token-refresh/jobs"
#: Three values of `json_text.MAX_CHARS`, and the same again for the rest of the page.
MAX_PAGE_BYTES = 400_000


def nested(levels: int, inside: Any) -> Any:
    for _ in range(levels):
        inside = [inside]
    return inside


HUGE: dict[str, Any] = {
    "wide and deep": {"a": nested(100, list(range(25_000)))},
    "a text": {"a": "<&\u2028" * 60_000},
    "a name": {"a" * 200_000: 1},
    "many": {f"name {n}": n for n in range(9_000)},
    "300 deep": {"a": nested(300, 1)},
    "800 deep": {"a": nested(800, {"b": 1})},
    "half a pair": {"a\ud800": ["\udfff"], "b": "\ud83d"},
    "no number": {"a": [float("nan"), float("inf")], "b": 10**4000},
}


def enqueue(app: AdminApp, data: dict[str, Any], actor: str = "another", **options: Any) -> str:
    """Enqueue a message as any Dramatiq producer may; return its id."""
    message: Message[Any] = Message("token-refresh", actor, (), data, {"priority": 2, **options})
    return app.broker.enqueue(message).message_id


@pytest.mark.parametrize("what", HUGE)
def test_a_job_with_huge_or_deep_data_has_a_small_page_and_its_json(
    operator: FlaskClient, app: AdminApp, what: str
) -> None:
    job_id = enqueue(app, HUGE[what], requested_by="r" * 300_000 + "\ud800")
    page = operator.get(f"{QUEUE}/jobs/{job_id}")
    assert (page.status_code, len(page.data) < MAX_PAGE_BYTES) == (200, True)
    as_json = operator.get(f"{QUEUE}/jobs/{job_id}?format=json")
    assert as_json.mimetype == "application/json"
    job = json.loads(as_json.data, parse_constant=pytest.fail)
    assert job["data"].keys() == {name.replace("\ud800", "\\ud800") for name in HUGE[what]}
    assert operator.get(f"{API}/{job_id}").get_json()["data"] == job["data"]
    if len(str(HUGE[what])) > 150_000:
        assert 'href="?format=json"' in page.text
        assert job["data"] == HUGE[what]
    for path in (f"{QUEUE}?status=waiting", "/admin/jobs/queues/token-refresh/jobs?status=waiting", "/admin/"):
        assert operator.get(path).status_code == 200


def test_names_of_foreign_jobs_are_bounded(operator: FlaskClient, app: AdminApp) -> None:
    job_id = enqueue(app, {}, actor="n" * 600_000 + "\ud800")
    for path in (f"{QUEUE}/jobs/{job_id}", f"{QUEUE}?status=waiting"):
        response = operator.get(path)
        assert (response.status_code, len(response.data) < MAX_PAGE_BYTES) == (200, True)
