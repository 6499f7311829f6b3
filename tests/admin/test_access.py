"""Tokens, roles, sessions, read-only mode, request ids and the audit log of what was done with them."""

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
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from admin import create_app
from admin.parts import keep
from nomad_actors import logs
from nomad_actors.clock import ManualClock
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import digest_of, token_entry
from nomad_actors.store import audit

from .conftest import Parts, parts_on
from .served import form_token

TOKENS = {"vera": "the-viewers-token-0123456789", "otto": "the-operators-token-0123456789"}
ENTRIES = (token_entry("vera", "viewer", TOKENS["vera"]), token_entry("otto", "operator", TOKENS["otto"]))
PAUSE = "/admin/jobs/queues/token-refresh/pause"
START_MS = 1_793_491_200_000


@pytest.fixture
def closed(redis_url: str, tmp_path: Path) -> Iterator[Parts]:
    """Parts whose admin has tokens, with a clock that stands."""
    settings = Settings(admin_tokens=ENTRIES, admin_hosts=("admin.example",))
    parts = parts_on(redis_url, tmp_path, settings, ManualClock(START_MS))
    yield parts
    parts.close()


@pytest.fixture
def web(closed: Parts, shared: Flask) -> Flask:
    keep(shared, closed)
    return shared


@pytest.fixture
def ask(web: Flask) -> FlaskClient:
    """A client of another machine."""
    client = web.test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    return client


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS.get(name, name)}"}


def log_in(ask: FlaskClient, name: str) -> None:
    token = form_token(ask.get("/admin/login").text)
    answer = ask.post("/admin/login", data={"token": TOKENS[name], "form_token": token})
    assert (answer.status_code, answer.location) == (303, "/admin/")


def audited(parts: Parts) -> list[tuple[str, str | None, int | None]]:
    return [(entry.actor, entry.reason, entry.status) for entry in parts.store.audit.read(100)[0]]


def test_without_a_token_only_life_is_shown(ask: FlaskClient, closed: Parts) -> None:
    assert ask.get("/healthz").status_code == 200
    assert ask.get("/healthz", headers={"Host": "10.0.0.9:3000"}).status_code == 200
    for path in ("/readyz", "/metrics", "/admin/jobs/health", "/admin/jobs/audit", "/nothing"):
        answer = ask.get(path)
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ask.post(PAUSE).status_code == 401
    assert not closed.queues.get_queue("token-refresh").snapshot().is_paused
    with ask.get("/admin/static/admin.css") as style:
        assert style.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"), [("admin.example:3000", 200), ("ADMIN.example", 200), ("localhost", 200), ("evil.example", 403)]
)
def test_only_names_of_ours_are_answered(ask: FlaskClient, host: str, status: int) -> None:
    assert ask.get("/metrics", headers=bearer("vera") | {"Host": host}).status_code == status


def test_every_rule_but_the_open_ones_is_closed(web: Flask, ask: FlaskClient) -> None:
    for rule in web.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS"}:
            path = re.sub(r"<[^>]+>", "x", rule.rule)
            answer = ask.open(path, method=method)
            answer.close()
            is_open = rule.endpoint in ("probes.alive", "static", "pages.home", "pages_login.login")
            shown = answer.status_code < 300 or answer.location == "/admin/"
            assert not shown or is_open, (method, path, answer.status_code)


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/admin/jobs/queues", "/admin/jobs/audit", "/admin/"])
@pytest.mark.parametrize("name", TOKENS)
def test_a_token_of_either_role_looks(ask: FlaskClient, path: str, name: str) -> None:
    assert ask.get(path, headers=bearer(name)).status_code == 200


def test_only_an_operator_changes_and_both_are_audited(ask: FlaskClient, closed: Parts) -> None:
    assert ask.post(PAUSE, headers=bearer("vera")).status_code == 403
    assert not closed.queues.get_queue("token-refresh").snapshot().is_paused
    assert ask.post(PAUSE, headers=bearer("otto"), json={}).status_code == 200
    assert closed.queues.get_queue("token-refresh").snapshot().is_paused
    assert audited(closed) == [("otto", None, 200), ("vera", "role", 403)]


def test_the_audit_log_is_read_in_pages(ask: FlaskClient, closed: Parts) -> None:
    for number in range(3):
        ask.post(PAUSE, headers=bearer("otto") | {"X-Request-Id": f"r-{number}"}, json={"password": "hush"})
        assert isinstance(closed.clock, ManualClock)
        closed.clock.advance(seconds=1)
    first = ask.get("/admin/jobs/audit?limit=2&actor=otto", headers=bearer("vera")).get_json()
    assert [entry["requestId"] for entry in first["entries"]] == ["r-2", "r-1"]
    rest = ask.get(f"/admin/jobs/audit?cursor={first['nextCursor']}", headers=bearer("vera")).get_json()
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
    until = ask.get(f"/admin/jobs/audit?since={START_MS + 1}&until={START_MS + 2000}", headers=bearer("vera"))
    assert [found["requestId"] for found in until.get_json()["entries"]] == ["r-1"]
    page = ask.get("/admin/audit", headers=bearer("vera")).text
    assert "POST /admin/jobs/queues/{queue}/pause" in page
    assert '<a href="?queue=token-refresh">' in page
    assert "hush" not in page


@pytest.mark.parametrize("way", ["api", "page"])
def test_no_job_id_pushes_what_was_done_out_of_its_entry(ask: FlaskClient, closed: Parts, way: str) -> None:
    log_in(ask, "otto")
    form = form_token(ask.get("/admin/queues/token-refresh").text)
    for job_id in ("é" * 199, "😀" * 200, "a/b/../c?d#e%", "x" * 9_000, "a\x00b"):
        path = f"queues/token-refresh/jobs/{quote(job_id, safe='')}/cancel"
        pattern = "queues/{queue}/jobs/{jobId}/cancel"
        if way == "api":
            raw = b'{ "reason" : "wrong" }'
            path, pattern = f"/admin/jobs/{path}", f"/admin/jobs/{pattern}"
            answer = ask.post(path, headers=bearer("otto"), data=raw, content_type="application/json")
        else:
            raw = f"form_token={form}&note=%C3%A9".encode()
            path, pattern = f"/admin/{path}", f"/admin/{pattern}"
            answer = ask.post(path, data=raw, content_type="application/x-www-form-urlencoded")
        assert answer.status_code in (303, 404)
        entry = closed.store.audit.read(1)[0][0]
        assert (entry.actor, entry.method, entry.queue) == ("otto", "POST", "token-refresh")
        assert (entry.endpoint, entry.path[-7:]) == (pattern, "/cancel")
        assert (entry.body_bytes, entry.body_sha256) == (len(raw), sha256(raw).hexdigest())
        assert len(job_id) > 200 or entry.job_id == job_id.replace("\x00", "\\0")
        query = f"queue=token-refresh&endpoint=cancel&jobId={quote(entry.job_id or '')}&limit=1"
        shown = ask.get(f"/admin/jobs/audit?{query}", headers=bearer("vera")).get_json()["entries"]
        assert [each["id"] for each in shown] == [str(entry.id)]
    assert f"{len(raw)} bytes, {sha256(raw).hexdigest()[:12]}" in ask.get("/admin/audit").text


def test_entries_are_found_by_queue_job_and_endpoint_and_by_nothing_else(ask: FlaskClient) -> None:
    for path in ("queues/esi-refresh/pause", "queues/token-refresh/pause", "scheduler/100%25_x/start", "esi/resume"):
        ask.post(f"/admin/jobs/{path}", headers=bearer("otto"))

    def found(query: str) -> list[str]:
        entries = ask.get(f"/admin/jobs/audit?{query}", headers=bearer("vera")).get_json()["entries"]
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
def test_no_field_pushes_another_out_of_a_body_in_short(
    ask: FlaskClient, closed: Parts, padding: dict[str, object]
) -> None:
    body = {"action": "remove", "filter": {"status": ["failed"], "fields": {"character_id": "77"}}, **padding}
    ask.post("/admin/jobs/queues/token-refresh/bulk", headers=bearer("otto"), json=body)
    kept = json.loads(str(closed.store.audit.read(1)[0][0].body))
    assert (kept["action"], kept["filter"]) == (body["action"], body["filter"])


def test_a_change_that_cannot_be_audited_does_not_happen(ask: FlaskClient, closed: Parts) -> None:
    closed.lose_database()
    answer = ask.post(PAUSE, headers=bearer("otto"))
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert "nothing was changed" in answer.get_json()["detail"]
    assert not closed.queues.get_queue("token-refresh").snapshot().is_paused
    assert ask.get("/admin/jobs/queues", headers=bearer("vera")).status_code == 200
    assert ask.get("/admin/jobs/queues", headers=bearer("wrong")).status_code == 401
    closed.find_database()
    assert ask.post(PAUSE, headers=bearer("otto")).status_code == 200


def test_a_browser_logs_in_acts_and_logs_out(ask: FlaskClient, closed: Parts) -> None:
    assert (ask.get("/admin/").status_code, ask.get("/admin/").location) == (303, "/admin/login")
    log_in(ask, "otto")
    cookie = ask.get_cookie("nomad_session", path="/admin")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, cookie.secure, cookie.max_age) == (True, "Strict", False, 43_200)
    page = ask.get("/admin/queues/token-refresh").text
    assert "otto, operator" in page
    answer = ask.post("/admin/queues/token-refresh/pause", data={"form_token": form_token(page)})
    assert (answer.status_code, answer.location) == (303, "/admin/queues/token-refresh")
    assert closed.queues.get_queue("token-refresh").snapshot().is_paused
    assert "The queue is paused: no job starts" in ask.get(answer.location).text
    assert "The queue is paused: no job starts" not in ask.get(answer.location).text
    assert ask.post("/admin/logout", data={"form_token": form_token(page)}).location == "/admin/login"
    assert ask.get("/admin/").location == "/admin/login"
    assert audited(closed) == [("otto", None, 303)] * 3


def test_a_session_opens_no_path_of_the_api(ask: FlaskClient) -> None:
    log_in(ask, "otto")
    assert ask.get("/admin/").status_code == 200
    assert ask.get("/admin/jobs/queues").status_code == 401
    assert ask.post(PAUSE).status_code == 401


def test_a_login_over_https_is_for_https_alone(ask: FlaskClient) -> None:
    token = form_token(ask.get("/admin/login").text)
    said = {"Origin": "https://localhost"}
    answer = ask.post("/admin/login", data={"token": TOKENS["vera"], "form_token": token}, headers=said)
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_viewer_sees_no_buttons_and_a_read_only_admin_has_none(ask: FlaskClient, closed: Parts) -> None:
    log_in(ask, "vera")
    assert "/pause" not in ask.get("/admin/queues/token-refresh").text
    frozen = replace(closed, settings=replace(closed.settings, admin_read_only=True))
    other = create_app(frozen).test_client()
    page = other.get("/admin/queues/token-refresh", headers=bearer("otto")).text
    assert "/pause" not in page
    assert "read-only" in page
    job_id = closed.add()
    limits = {"concurrency": 1, "starts": None, "periodMs": None, "maxLength": None}
    for method, path, body in (
        ("POST", PAUSE, {}),
        ("PUT", PAUSE.replace("pause", "limits"), limits),
        ("DELETE", PAUSE.replace("pause", f"jobs/{job_id}"), None),
    ):
        answer = other.open(path, method=method, headers=bearer("otto"), json=body)
        assert answer.status_code == 403
        assert "read-only" in answer.get_json()["detail"]
        assert audited(closed)[0] == ("otto", "read_only", 403)
    queue = closed.queues.get_queue("token-refresh")
    assert (queue.snapshot().is_paused, queue.snapshot().limits.concurrency, queue.get(job_id) is None) == (
        False,
        None,
        False,
    )
    log_in(other, "otto")


def test_wrong_tokens_of_one_address_keep_no_right_one_of_it_out(ask: FlaskClient, closed: Parts) -> None:
    """Behind a proxy every operator and Prometheus have the address of whoever guesses."""
    token = form_token(ask.get("/admin/login").text)

    def log_in_with(given: str) -> TestResponse:
        return ask.post("/admin/login", data={"token": given, "form_token": token})

    for number in range(5):
        assert ask.get("/metrics", headers=bearer(f"wrong-{number}")).status_code == 401
        assert log_in_with(f"guess-{number}").status_code == 401
    assert isinstance(closed.clock, ManualClock)
    closed.clock.advance(seconds=60)
    other = create_app(closed).test_client()
    here = {"REMOTE_ADDR": "192.0.2.7"}
    # Each other admin knows: it refuses wrong ones, of whichever way in, and lets right ones pass.
    answer = other.get("/metrics", headers=bearer("wrong-11"), environ_base=here)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "540")
    answer = log_in_with("guess-11")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "540")
    assert other.get("/metrics", headers=bearer("vera"), environ_base=here).status_code == 200
    assert other.post(PAUSE, headers=bearer("otto"), environ_base=here).status_code == 200
    assert log_in_with(TOKENS["otto"]).status_code == 303
    assert ask.get("/admin/").status_code == 200
    closed.clock.advance(seconds=540)
    assert other.get("/metrics", headers=bearer("wrong-12"), environ_base=here).status_code == 401


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"])
def test_a_flood_of_wrong_tokens_is_bounded_in_the_audit_log_and_hinders_nobody(
    ask: FlaskClient, closed: Parts, peer: str
) -> None:
    here = {"REMOTE_ADDR": peer}
    statuses = [
        ask.get("/metrics", headers=bearer(f"w-{number}"), environ_base=here).status_code for number in range(80)
    ]
    assert statuses == [401] * 10 + [429] * 70
    assert len(closed.store.audit.read(1000)[0]) == 60
    assert ask.get("/metrics", headers=bearer("vera"), environ_base=here).status_code == 200
    closed.lose_database()
    assert ask.get("/metrics", headers=bearer("vera"), environ_base=here).status_code == 200
    assert ask.get("/metrics", headers=bearer("w-81"), environ_base=here).status_code == 401


def test_no_other_refusals_keep_wrong_tokens_from_being_counted(
    ask: FlaskClient, closed: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "REFUSALS_IN_ALL", 60)
    for number in range(65):
        peer = "192.0.2.7" if number < 50 else "192.0.2.8"
        assert ask.get("/metrics", environ_base={"REMOTE_ADDR": peer}).status_code == 401
    statuses = [ask.get("/metrics", headers=bearer(f"wrong-{number}")).status_code for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert audited(closed)[:10] == [("", "token", 401)] * 10


def test_the_same_wrong_token_again_is_one_try_and_told_by_its_digest(ask: FlaskClient, closed: Parts) -> None:
    of_yesterday = "y" * 43
    for _ in range(60):
        assert ask.get("/metrics", headers=bearer(of_yesterday)).status_code == 401
    assert ask.get("/metrics", headers=bearer("otto")).status_code == 200
    [entry] = closed.store.audit.read(1000)[0]
    assert f"begins with {digest_of(of_yesterday)[:16]}" in (entry.error or "")
    # And it uses up nothing of what is watched for.
    statuses = [ask.get("/metrics", headers=bearer(f"wrong-{number}")).status_code for number in range(10)]
    assert statuses == [401] * 9 + [429]


def test_a_password_in_the_place_of_a_token_is_told_by_nothing_that_it_is_guessed_by(
    ask: FlaskClient, closed: Parts
) -> None:
    said = [
        ask.get("/metrics", headers=bearer(each)).get_json()["detail"] for each in ("hunter2", "hunter2", "hunter3")
    ]
    assert said[0] == said[1] != said[2]
    assert not any(digest_of("hunter2")[:8] in (entry.error or "") for entry in closed.store.audit.read(1000)[0])


def test_the_addresses_of_one_ipv6_host_count_together(ask: FlaskClient) -> None:
    for number in range(10):
        ask.get("/metrics", headers=bearer(f"wrong-{number}"), environ_base={"REMOTE_ADDR": f"2001:db8::{number}"})
    for peer, status in (("2001:db8::ffff:1", 429), ("2001:db8:0:1::1", 401)):
        assert ask.get("/metrics", headers=bearer("other"), environ_base={"REMOTE_ADDR": peer}).status_code == status


def test_every_line_of_a_request_says_its_id_and_never_a_token(
    ask: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("logfmt", "info", sys.stderr)
    try:
        ask.post(PAUSE, headers=bearer("otto") | {"X-Request-Id": "given-1"})
        ask.post(PAUSE, headers=bearer("wrong-token-of-somebody") | {"X-Request-Id": "given-2"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [line for line in capsys.readouterr().err.splitlines() if "module=admin" in line]
    assert len(lines) == 2
    assert re.search(r"event=change method=POST path=\S+ status=200 actor=otto .* peer=192.0.2.7 ms=\d+", lines[0])
    assert "request_id=given-1" in lines[0]
    assert re.search(r"event=refused .* status=401 actor=\"?\"? .*reason=token .*request_id=given-2", lines[1])
    assert not any(token in line for token in (*TOKENS.values(), "wrong-token") for line in lines)


def test_a_forms_secrets_are_not_written_down(ask: FlaskClient, closed: Parts) -> None:
    log_in(ask, "otto")
    page = ask.get("/admin/queues/token-refresh").text
    said = {"form_token": form_token(page), "reason": "a look", "token": "hush-hush"}
    ask.post("/admin/queues/token-refresh/pause", data=said)
    first, login = closed.store.audit.read(2)[0]
    assert json.loads(str(first.body)) == {"reason": "a look", "token": "[hidden]"}
    assert (login.endpoint, login.body, login.body_sha256) == ("/admin/login", None, None)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "-", "<script>", "é"])
def test_an_unfit_request_id_is_replaced(ask: FlaskClient, given: str) -> None:
    told = ask.get("/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", told)
    assert ask.get("/healthz", headers={"X-Request-Id": "a.B-9_"}).headers["X-Request-Id"] == "a.B-9_"
