"""Whatever jobs hold, a page stays small and says where the rest is; nothing that is nested deeply fails anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dramatiq import Message
from flask.testing import FlaskClient

from .conftest import Parts

QUEUE = "/admin/queues/token-refresh"
API = "/admin/jobs/queues/token-refresh/jobs"
#: Three values of `json_text.MAX_CHARS`, and as much for the rest.
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


def stock(parts: Parts, data: dict[str, Any], actor: str = "another", **options: Any) -> str:
    """Add a job as any Dramatiq producer may, and return its id."""
    message: Message[Any] = Message("token-refresh", actor, (), data, {"priority": 2, **options})
    return parts.broker.enqueue(message).message_id


@pytest.mark.parametrize("what", HUGE)
def test_a_job_with_huge_or_deep_data_has_a_small_page_and_its_json(ask: FlaskClient, parts: Parts, what: str) -> None:
    job_id = stock(parts, HUGE[what], requested_by="r" * 300_000 + "\ud800")
    page = ask.get(f"{QUEUE}/jobs/{job_id}")
    assert (page.status_code, len(page.data) < MAX_PAGE_BYTES) == (200, True)
    whole = ask.get(f"{QUEUE}/jobs/{job_id}?format=json")
    assert whole.mimetype == "application/json"
    told = json.loads(whole.data, parse_constant=pytest.fail)
    assert told["data"].keys() == {name.replace("\ud800", "\\ud800") for name in HUGE[what]}
    assert ask.get(f"{API}/{job_id}").get_json()["data"] == told["data"]
    if len(str(HUGE[what])) > 150_000:
        assert 'href="?format=json"' in page.text
        assert told["data"] == HUGE[what]
    for path in (f"{QUEUE}?status=waiting", "/admin/jobs/queues/token-refresh/jobs?status=waiting", "/admin/"):
        assert ask.get(path).status_code == 200


def test_names_and_reasons_of_others_are_bounded(ask: FlaskClient, parts: Parts) -> None:
    job_id = stock(parts, {}, actor="n" * 600_000 + "\ud800")
    for path in (f"{QUEUE}/jobs/{job_id}", f"{QUEUE}?status=waiting"):
        answer = ask.get(path)
        assert (answer.status_code, len(answer.data) < MAX_PAGE_BYTES) == (200, True)
