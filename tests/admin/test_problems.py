"""What goes wrong is said in one form, with what to do, and without a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from admin import create_app
from nomad_actors.processes.local_redis import LocalRedis, free_port
from tests.support.foreign_values import RAISED, encoder_that_raises

from .conftest import Parts, parts_on, with_token


def test_an_unknown_path_is_404(ask: FlaskClient) -> None:
    answer = ask.get("/admin/jobs/nothing")
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.get_json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "nothing is at /admin/jobs/nothing; docs/admin-api.md lists what is",
    }


def test_a_wrong_method_is_405_with_those_that_are_possible(ask: FlaskClient) -> None:
    answer = ask.delete("/admin/jobs/queues/token-refresh/clean")
    assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
    assert "POST" in answer.get_json()["accepted"]
    assert "POST" in answer.headers["Allow"]


def test_a_failure_of_ours_says_nothing_of_the_code(bare: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise RuntimeError("the secret inside")

    bare.add_url_rule("/broken", view_func=broken)
    with caplog.at_level(logging.ERROR, "admin"):
        answer = bare.test_client().get("/broken")
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert caplog.records[-1].exc_info is not None
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)
def test_whatever_code_raises_that_a_request_calls_it_is_answered_and_its_end_audited(
    bare: Flask, parts: Parts, raised: Callable[[], BaseException]
) -> None:
    ask = with_token(bare, parts)
    body = {"name": "token-refresh-work", "data": {"character_id": 1}}
    with encoder_that_raises(raised):
        answer = ask.post("/admin/jobs/queues/token-refresh/jobs", json=body)
    assert (answer.status_code, answer.get_json()["detail"]) == (500, "the admin failed; its log says why")
    (entry,) = parts.store.audit.read(9)[0]
    assert (entry.status, entry.error) == (500, "the admin failed; its log says why")
    assert ask.get("/admin/jobs/metrics").status_code == 200


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Parts]:
    """Parts whose Redis is not there."""
    parts = parts_on(f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    yield parts
    parts.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/jobs/metrics"),
        ("GET", "/admin/jobs/queues/token-refresh/jobs"),
        ("POST", "/admin/jobs/queues/token-refresh/pause"),
        ("GET", "/admin/jobs/failed"),
        ("GET", "/admin/jobs/health"),
    ],
)
def test_without_redis_the_api_says_so(away: Parts, method: str, path: str) -> None:
    answer = with_token(create_app(away), away).open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert "Redis" in answer.get_json()["detail"]
    assert answer.headers["Retry-After"] == "5"
    assert answer.get_json().get("healthy") is (False if path.endswith("health") else None)


def test_without_redis_the_page_says_so(away: Parts) -> None:
    answer = create_app(away).test_client().get("/admin/")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "Redis" in answer.text
    assert "Traceback" not in answer.text


def test_the_admin_answers_again_once_redis_is_back(own_redis: LocalRedis, tmp_path: Path) -> None:
    parts = parts_on(own_redis.url, tmp_path)
    ask = create_app(parts).test_client()
    assert ask.get("/admin/jobs/metrics").status_code == 200
    own_redis.kill()
    assert ask.get("/admin/jobs/metrics").status_code == 503
    own_redis.start()
    assert ask.get("/admin/jobs/metrics").status_code == 200
    parts.close()
