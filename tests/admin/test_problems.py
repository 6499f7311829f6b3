"""Error responses have one form, say what to do, and contain no traceback."""

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

from .conftest import AdminApp, make_app, operator_client


def test_an_unknown_path_is_404(operator: FlaskClient) -> None:
    response = operator.get("/admin/jobs/nothing")
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")
    assert response.get_json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "/admin/jobs/nothing does not exist; docs/admin-api.md lists all paths",
    }


def test_a_wrong_method_is_405_with_the_allowed_ones(operator: FlaskClient) -> None:
    response = operator.delete("/admin/jobs/queues/token-refresh/clean")
    assert (response.status_code, response.mimetype) == (405, "application/problem+json")
    assert "POST" in response.get_json()["accepted"]
    assert "POST" in response.headers["Allow"]


def test_an_internal_error_reveals_nothing_of_the_code(unchecked_web: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise RuntimeError("the secret inside")

    unchecked_web.add_url_rule("/broken", view_func=broken)
    with caplog.at_level(logging.ERROR, "admin"):
        response = unchecked_web.test_client().get("/broken")
    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert caplog.records[-1].exc_info is not None
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)
def test_any_exception_in_user_code_gets_a_response_and_an_audited_outcome(
    unchecked_web: Flask, app: AdminApp, raised: Callable[[], BaseException]
) -> None:
    operator = operator_client(unchecked_web, app)
    body = {"name": "token-refresh-work", "data": {"character_id": 1}}
    with encoder_that_raises(raised):
        response = operator.post("/admin/jobs/queues/token-refresh/jobs", json=body)
    assert (response.status_code, response.get_json()["detail"]) == (500, "the admin failed; see its log for the cause")
    (entry,) = app.store.audit.read(9)[0]
    assert (entry.status, entry.error) == (500, "the admin failed; see its log for the cause")
    assert operator.get("/admin/jobs/metrics").status_code == 200


@pytest.fixture
def app_without_redis(tmp_path: Path) -> Iterator[AdminApp]:
    """An application whose Redis is down."""
    app = make_app(f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    yield app
    app.close()


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
def test_without_redis_the_api_answers_503(app_without_redis: AdminApp, method: str, path: str) -> None:
    response = operator_client(create_app(app_without_redis), app_without_redis).open(path, method=method)
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert "Redis" in response.get_json()["detail"]
    assert response.headers["Retry-After"] == "5"
    assert response.get_json().get("healthy") is (False if path.endswith("health") else None)


def test_without_redis_the_page_answers_503(app_without_redis: AdminApp) -> None:
    response = create_app(app_without_redis).test_client().get("/admin/")
    assert (response.status_code, response.mimetype) == (503, "text/html")
    assert "Redis" in response.text
    assert "Traceback" not in response.text


def test_the_admin_answers_again_once_redis_is_back(own_redis: LocalRedis, tmp_path: Path) -> None:
    app = make_app(own_redis.url, tmp_path)
    operator = create_app(app).test_client()
    assert operator.get("/admin/jobs/metrics").status_code == 200
    own_redis.kill()
    assert operator.get("/admin/jobs/metrics").status_code == 503
    own_redis.start()
    assert operator.get("/admin/jobs/metrics").status_code == 200
    app.close()
