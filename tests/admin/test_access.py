"""Tokens, roles, sessions, read-only mode, request ids and the audit log."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from admin.parts import attach
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from admin import create_app
from nomad_actors import logs
from nomad_actors.clock import ManualClock
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import digest_of, token_entry
from nomad_actors.store import audit

from .admin_process import form_token
from .conftest import AdminApp, make_app

TOKENS = {"vera": "the-viewers-token-0123456789", "otto": "the-operators-token-0123456789"}
ENTRIES = (token_entry("vera", "viewer", TOKENS["vera"]), token_entry("otto", "operator", TOKENS["otto"]))
PAUSE = "/admin/jobs/queues/token-refresh/pause"
START_MS = 1_793_491_200_000


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Iterator[AdminApp]:
    """An application with configured tokens and a manual clock."""
    settings = Settings(admin_tokens=ENTRIES, admin_hosts=("admin.example",))
    app = make_app(redis_url, tmp_path, settings, ManualClock(START_MS))
    yield app
    app.close()


@pytest.fixture
def web(app: AdminApp, shared_web: Flask) -> Flask:
    attach(shared_web, app)
    return shared_web


@pytest.fixture
def remote(web: Flask) -> FlaskClient:
    """A client on another machine."""
    client = web.test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    return client


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS.get(name, name)}"}


def log_in(remote: FlaskClient, name: str) -> None:
    token = form_token(remote.get("/admin/login").text)
    response = remote.post("/admin/login", data={"token": TOKENS[name], "form_token": token})
    assert (response.status_code, response.location) == (303, "/admin/")


def audited(app: AdminApp) -> list[tuple[str, str | None, int | None]]:
    return [(entry.actor, entry.reason, entry.status) for entry in app.store.audit.read(100)[0]]


def test_without_a_token_only_the_liveness_probe_answers(remote: FlaskClient, app: AdminApp) -> None:
    assert remote.get("/healthz").status_code == 200
    assert remote.get("/healthz", headers={"Host": "10.0.0.9:3000"}).status_code == 200
    for path in ("/readyz", "/metrics", "/admin/jobs/health", "/admin/jobs/audit", "/nothing"):
        response = remote.get(path)
        assert (response.status_code, response.mimetype) == (401, "application/problem+json"), path
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert remote.post(PAUSE).status_code == 401
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    with remote.get("/admin/static/admin.css") as style:
        assert style.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"), [("admin.example:3000", 200), ("ADMIN.example", 200), ("localhost", 200), ("evil.example", 403)]
)
def test_only_configured_hosts_are_accepted(remote: FlaskClient, host: str, status: int) -> None:
    assert remote.get("/metrics", headers=bearer("vera") | {"Host": host}).status_code == status


def test_every_rule_but_the_open_ones_needs_a_token(web: Flask, remote: FlaskClient) -> None:
    for rule in web.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS"}:
            path = re.sub(r"<[^>]+>", "x", rule.rule)
            response = remote.open(path, method=method)
            response.close()
            is_open = rule.endpoint in ("probes.alive", "static", "pages.home", "pages_login.login")
            shown = response.status_code < 300 or response.location == "/admin/"
            assert not shown or is_open, (method, path, response.status_code)


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/admin/jobs/queues", "/admin/jobs/audit", "/admin/"])
@pytest.mark.parametrize("name", TOKENS)
def test_both_roles_may_read(remote: FlaskClient, path: str, name: str) -> None:
    assert remote.get(path, headers=bearer(name)).status_code == 200


def test_only_an_operator_may_change_and_both_attempts_are_audited(remote: FlaskClient, app: AdminApp) -> None:
    assert remote.post(PAUSE, headers=bearer("vera")).status_code == 403
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    assert remote.post(PAUSE, headers=bearer("otto"), json={}).status_code == 200
    assert app.queues.get_queue("token-refresh").snapshot().is_paused
    assert audited(app) == [("otto", None, 200), ("vera", "role", 403)]


def test_the_audit_log_is_paginated(remote: FlaskClient, app: AdminApp) -> None:
    for number in range(3):
        remote.post(PAUSE, headers=bearer("otto") | {"X-Request-Id": f"r-{number}"}, json={"password": "hush"})
        assert isinstance(app.clock, ManualClock)
        app.clock.advance(seconds=1)
    first = remote.get("/admin/jobs/audit?limit=2&actor=otto", headers=bearer("vera")).get_json()
    assert [entry["requestId"] for entry in first["entries"]] == ["r-2", "r-1"]
    rest = remote.get(f"/admin/jobs/audit?cursor={first['nextCursor']}", headers=bearer("vera")).get_json()
    (entry,) = rest["entries"]
    assert rest["nextCursor"] is None
    assert entry == {
        "id": entry["id"],
        "at": START_MS,
        "requestId": "r-0",
        "actor": "otto",
        "role": "operator",
        "peer": "192.0.2.7",
        "method": "POST",
        "path": PAUSE,
        "endpoint": "/admin/jobs/queues/{queue}/pause",
        "queueName": "token-refresh",
        "jobId": None,
        "scheduleName": None,
        "body": '{"password": "[hidden]"}',
        "bodyLength": 20,
        "bodySha256": sha256(b'{"password": "hush"}').hexdigest(),
        "refused": None,
        "endedAt": START_MS,
        "status": 422,
        "error": entry["error"],
    }
    assert "unknown field 'password'" in entry["error"]
    between = remote.get(f"/admin/jobs/audit?since={START_MS + 1}&until={START_MS + 2000}", headers=bearer("vera"))
    assert [entry["requestId"] for entry in between.get_json()["entries"]] == ["r-1"]
    page = remote.get("/admin/audit", headers=bearer("vera")).text
    assert "POST /admin/jobs/queues/{queue}/pause" in page
    assert '<a href="?queue=token-refresh">' in page
    assert "hush" not in page


@pytest.mark.parametrize("way", ["api", "page"])
def test_no_job_id_displaces_the_action_in_its_audit_entry(remote: FlaskClient, app: AdminApp, way: str) -> None:
    log_in(remote, "otto")
    form = form_token(remote.get("/admin/queues/token-refresh").text)
    for job_id in ("é" * 199, "😀" * 200, "a/b/../c?d#e%", "x" * 9_000, "a\x00b"):
        path = f"queues/token-refresh/jobs/{quote(job_id, safe='')}/cancel"
        pattern = "queues/{queue}/jobs/{jobId}/cancel"
        if way == "api":
            raw = b'{ "reason" : "wrong" }'
            path, pattern = f"/admin/jobs/{path}", f"/admin/jobs/{pattern}"
            response = remote.post(path, headers=bearer("otto"), data=raw, content_type="application/json")
        else:
            raw = f"form_token={form}&note=%C3%A9".encode()
            path, pattern = f"/admin/{path}", f"/admin/{pattern}"
            response = remote.post(path, data=raw, content_type="application/x-www-form-urlencoded")
        assert response.status_code in (303, 404)
        entry = app.store.audit.read(1)[0][0]
        assert (entry.actor, entry.method, entry.queue) == ("otto", "POST", "token-refresh")
        assert (entry.endpoint, entry.path[-7:]) == (pattern, "/cancel")
        assert (entry.body_bytes, entry.body_sha256) == (len(raw), sha256(raw).hexdigest())
        assert len(job_id) > 200 or entry.job_id == job_id.replace("\x00", "\\0")
        query = f"queue=token-refresh&endpoint=cancel&jobId={quote(entry.job_id or '')}&limit=1"
        shown = remote.get(f"/admin/jobs/audit?{query}", headers=bearer("vera")).get_json()["entries"]
        assert [each["id"] for each in shown] == [str(entry.id)]
    assert f"{len(raw)} bytes, SHA-256 {sha256(raw).hexdigest()[:12]}" in remote.get("/admin/audit").text


def test_audit_entries_are_found_by_queue_job_and_endpoint(remote: FlaskClient) -> None:
    for path in ("queues/esi-refresh/pause", "queues/token-refresh/pause", "scheduler/100%25_x/start", "esi/resume"):
        remote.post(f"/admin/jobs/{path}", headers=bearer("otto"))

    def found(query: str) -> list[str]:
        entries = remote.get(f"/admin/jobs/audit?{query}", headers=bearer("vera")).get_json()["entries"]
        return [entry["scheduleName"] or entry["path"].removeprefix("/admin/jobs/") for entry in entries]

    assert found("queue=esi-refresh") == ["queues/esi-refresh/pause"]
    assert found("endpoint=pause") == ["queues/token-refresh/pause", "queues/esi-refresh/pause"]
    assert found("endpoint=%25use") == found("endpoint=use") == found("jobId=x") == []
    assert found("endpoint=/admin/jobs/esi/resume") == ["esi/resume"]
    assert found("endpoint=start") == ["100%_x"]


@pytest.mark.parametrize(
    "padding",
    [{"aaa": "x" * 50_000}, {f"a{n}": "x" * 400 for n in range(60)}, {"a": ["x" * 300] * 180}, {"a" * 5_000: 1}],
)
def test_no_field_displaces_another_in_an_audited_body(
    remote: FlaskClient, app: AdminApp, padding: dict[str, object]
) -> None:
    body = {"action": "remove", "filter": {"status": ["failed"], "fields": {"character_id": "77"}}, **padding}
    remote.post("/admin/jobs/queues/token-refresh/bulk", headers=bearer("otto"), json=body)
    stored = json.loads(str(app.store.audit.read(1)[0][0].body))
    assert (stored["action"], stored["filter"]) == (body["action"], body["filter"])


def test_a_change_that_cannot_be_audited_does_not_happen(remote: FlaskClient, app: AdminApp) -> None:
    app.remove_database()
    response = remote.post(PAUSE, headers=bearer("otto"))
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert "nothing was changed" in response.get_json()["detail"]
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    assert remote.get("/admin/jobs/queues", headers=bearer("vera")).status_code == 200
    assert remote.get("/admin/jobs/queues", headers=bearer("wrong")).status_code == 401
    app.restore_database()
    assert remote.post(PAUSE, headers=bearer("otto")).status_code == 200


def test_a_browser_logs_in_acts_and_logs_out(remote: FlaskClient, app: AdminApp) -> None:
    assert (remote.get("/admin/").status_code, remote.get("/admin/").location) == (303, "/admin/login")
    log_in(remote, "otto")
    cookie = remote.get_cookie("nomad_session", path="/admin")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, cookie.secure, cookie.max_age) == (True, "Strict", False, 43_200)
    page = remote.get("/admin/queues/token-refresh").text
    assert "otto, operator" in page
    response = remote.post("/admin/queues/token-refresh/pause", data={"form_token": form_token(page)})
    assert (response.status_code, response.location) == (303, "/admin/queues/token-refresh")
    assert app.queues.get_queue("token-refresh").snapshot().is_paused
    assert "The queue is paused until it is resumed." in remote.get(response.location).text
    assert "The queue is paused until it is resumed." not in remote.get(response.location).text
    assert remote.post("/admin/logout", data={"form_token": form_token(page)}).location == "/admin/login"
    assert remote.get("/admin/").location == "/admin/login"
    assert audited(app) == [("otto", None, 303)] * 3


def test_the_api_does_not_accept_sessions(remote: FlaskClient) -> None:
    log_in(remote, "otto")
    assert remote.get("/admin/").status_code == 200
    assert remote.get("/admin/jobs/queues").status_code == 401
    assert remote.post(PAUSE).status_code == 401


def test_a_login_over_https_sets_a_secure_cookie(remote: FlaskClient) -> None:
    token = form_token(remote.get("/admin/login").text)
    headers = {"Origin": "https://localhost"}
    response = remote.post("/admin/login", data={"token": TOKENS["vera"], "form_token": token}, headers=headers)
    assert "Secure" in response.headers["Set-Cookie"]


def test_viewers_and_read_only_admins_have_no_buttons(remote: FlaskClient, app: AdminApp) -> None:
    log_in(remote, "vera")
    assert "/pause" not in remote.get("/admin/queues/token-refresh").text
    read_only = replace(app, settings=replace(app.settings, admin_read_only=True))
    other = create_app(read_only).test_client()
    page = other.get("/admin/queues/token-refresh", headers=bearer("otto")).text
    assert "/pause" not in page
    assert "read-only" in page
    job_id = app.add()
    limits = {"concurrency": 1, "starts": None, "periodMs": None, "maxLength": None}
    for method, path, body in (
        ("POST", PAUSE, {}),
        ("PUT", PAUSE.replace("pause", "limits"), limits),
        ("DELETE", PAUSE.replace("pause", f"jobs/{job_id}"), None),
    ):
        response = other.open(path, method=method, headers=bearer("otto"), json=body)
        assert response.status_code == 403
        assert "read-only" in response.get_json()["detail"]
        assert audited(app)[0] == ("otto", "read_only", 403)
    queue = app.queues.get_queue("token-refresh")
    assert (queue.snapshot().is_paused, queue.snapshot().limits.concurrency, queue.get(job_id) is None) == (
        False,
        None,
        False,
    )
    log_in(other, "otto")


def test_wrong_tokens_do_not_block_valid_ones_from_the_same_address(remote: FlaskClient, app: AdminApp) -> None:
    # Behind a proxy every operator and Prometheus have the same address as somebody who guesses.
    token = form_token(remote.get("/admin/login").text)

    def log_in_with(token_text: str) -> TestResponse:
        return remote.post("/admin/login", data={"token": token_text, "form_token": token})

    for number in range(5):
        assert remote.get("/metrics", headers=bearer(f"wrong-{number}")).status_code == 401
        assert log_in_with(f"guess-{number}").status_code == 401
    assert isinstance(app.clock, ManualClock)
    app.clock.advance(seconds=60)
    other = create_app(app).test_client()
    peer_address = {"REMOTE_ADDR": "192.0.2.7"}
    # Every other admin knows it too: it refuses wrong tokens of the API and of the login, and accepts valid ones.
    response = other.get("/metrics", headers=bearer("wrong-11"), environ_base=peer_address)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "540")
    response = log_in_with("guess-11")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "540")
    assert other.get("/metrics", headers=bearer("vera"), environ_base=peer_address).status_code == 200
    assert other.post(PAUSE, headers=bearer("otto"), environ_base=peer_address).status_code == 200
    assert log_in_with(TOKENS["otto"]).status_code == 303
    assert remote.get("/admin/").status_code == 200
    app.clock.advance(seconds=540)
    assert other.get("/metrics", headers=bearer("wrong-12"), environ_base=peer_address).status_code == 401


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"])
def test_a_flood_of_wrong_tokens_is_bounded_in_the_audit_log_and_blocks_nobody(
    remote: FlaskClient, app: AdminApp, peer: str
) -> None:
    peer_address = {"REMOTE_ADDR": peer}
    statuses = [
        remote.get("/metrics", headers=bearer(f"w-{number}"), environ_base=peer_address).status_code
        for number in range(80)
    ]
    assert statuses == [401] * 10 + [429] * 70
    assert len(app.store.audit.read(1000)[0]) == 60
    assert remote.get("/metrics", headers=bearer("vera"), environ_base=peer_address).status_code == 200
    app.remove_database()
    assert remote.get("/metrics", headers=bearer("vera"), environ_base=peer_address).status_code == 200
    assert remote.get("/metrics", headers=bearer("w-81"), environ_base=peer_address).status_code == 401


def test_other_refusals_do_not_stop_wrong_tokens_from_being_counted(
    remote: FlaskClient, app: AdminApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "REFUSALS_IN_ALL", 60)
    for number in range(65):
        peer = "192.0.2.7" if number < 50 else "192.0.2.8"
        assert remote.get("/metrics", environ_base={"REMOTE_ADDR": peer}).status_code == 401
    statuses = [remote.get("/metrics", headers=bearer(f"wrong-{number}")).status_code for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert audited(app)[:10] == [("", "token", 401)] * 10


def test_the_same_wrong_token_counts_once_and_is_audited_with_its_digest(remote: FlaskClient, app: AdminApp) -> None:
    old_token = "y" * 43
    for _ in range(60):
        assert remote.get("/metrics", headers=bearer(old_token)).status_code == 401
    assert remote.get("/metrics", headers=bearer("otto")).status_code == 200
    [entry] = app.store.audit.read(1000)[0]
    assert f"begins with {digest_of(old_token)[:16]}" in (entry.error or "")
    # It counts once, so nine other tries are left.
    statuses = [remote.get("/metrics", headers=bearer(f"wrong-{number}")).status_code for number in range(10)]
    assert statuses == [401] * 9 + [429]


def test_the_audit_log_does_not_help_to_guess_a_password_sent_as_a_token(remote: FlaskClient, app: AdminApp) -> None:
    details = [
        remote.get("/metrics", headers=bearer(each)).get_json()["detail"] for each in ("hunter2", "hunter2", "hunter3")
    ]
    assert details[0] == details[1] != details[2]
    assert not any(digest_of("hunter2")[:8] in (entry.error or "") for entry in app.store.audit.read(1000)[0])


def test_the_addresses_of_one_ipv6_host_count_together(remote: FlaskClient) -> None:
    for number in range(10):
        remote.get("/metrics", headers=bearer(f"wrong-{number}"), environ_base={"REMOTE_ADDR": f"2001:db8::{number}"})
    for peer, status in (("2001:db8::ffff:1", 429), ("2001:db8:0:1::1", 401)):
        assert remote.get("/metrics", headers=bearer("other"), environ_base={"REMOTE_ADDR": peer}).status_code == status


def test_log_lines_have_the_request_id_and_never_a_token(
    remote: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("logfmt", "info", sys.stderr)
    try:
        remote.post(PAUSE, headers=bearer("otto") | {"X-Request-Id": "caller-1"})
        remote.post(PAUSE, headers=bearer("wrong-token-of-somebody") | {"X-Request-Id": "caller-2"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [line for line in capsys.readouterr().err.splitlines() if "module=admin" in line]
    assert len(lines) == 2
    assert re.search(r"event=change method=POST path=\S+ status=200 actor=otto .* peer=192.0.2.7 ms=\d+", lines[0])
    assert "request_id=caller-1" in lines[0]
    assert re.search(r"event=refused .* status=401 actor=\"?\"? .*reason=token .*request_id=caller-2", lines[1])
    assert not any(token in line for token in (*TOKENS.values(), "wrong-token") for line in lines)


def test_secrets_in_a_form_are_not_audited(remote: FlaskClient, app: AdminApp) -> None:
    log_in(remote, "otto")
    page = remote.get("/admin/queues/token-refresh").text
    form = {"form_token": form_token(page), "reason": "a look", "token": "hush-hush"}
    remote.post("/admin/queues/token-refresh/pause", data=form)
    first, login = app.store.audit.read(2)[0]
    assert json.loads(str(first.body)) == {"reason": "a look", "token": "[hidden]"}
    assert (login.endpoint, login.body, login.body_sha256) == ("/admin/login", None, None)


@pytest.mark.parametrize("invalid_id", ["", "a b", "x" * 65, "-", "<script>", "é"])
def test_an_invalid_request_id_is_replaced(remote: FlaskClient, invalid_id: str) -> None:
    request_id = remote.get("/healthz", headers={"X-Request-Id": invalid_id}).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    assert remote.get("/healthz", headers={"X-Request-Id": "a.B-9_"}).headers["X-Request-Id"] == "a.B-9_"
