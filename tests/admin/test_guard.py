"""Who is let in: this machine, and no web page of somebody else's."""

from __future__ import annotations

import io

import pytest
from flask.testing import FlaskClient

from .conftest import Parts

PAUSE = "/admin/jobs/queues/token-refresh/pause"


#: Shows something of the queues, and may be looked at by this machine without a token.
LOOKS = ["/admin/jobs/health", "/admin/jobs/queues", "/metrics", "/readyz", "/admin/doctor", "/admin/openapi.json"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_look_without_a_token(visit: FlaskClient, peer: str) -> None:
    visit.environ_base["REMOTE_ADDR"] = peer
    for path in LOOKS:
        assert visit.get(path).status_code in (200, 503), path
    page = visit.get("/admin/")
    assert page.status_code == 200
    assert "Log in to change something" in page.text


def test_without_a_token_nothing_is_changed_and_the_answer_says_what_to_do(visit: FlaskClient, parts: Parts) -> None:
    for path in (PAUSE, "/admin/queues/token-refresh/pause"):
        answer = visit.post(path)
        assert answer.status_code == 401
        assert "nomad admin link" in answer.text
        assert "admin-token" in answer.text
    answer = visit.delete("/admin/jobs/queues/token-refresh/jobs/x")
    assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused
    assert [(entry.actor, entry.reason) for entry in parts.store.audit.read(9)[0]] == [("", "no_token")] * 3


def test_whoever_looks_only_sees_no_button_that_changes_anything(visit: FlaskClient, parts: Parts) -> None:
    parts.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    job_id = parts.add()
    for path in (
        "",
        "queues/token-refresh",
        f"queues/token-refresh/jobs/{job_id}",
        "schedules/nightly",
        "bulk",
        "audit",
    ):
        page = visit.get(f"/admin/{path}")
        assert page.status_code == 200
        assert 'method="post"' not in page.text, path


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "2001:db8::1", "", "unix:"])
def test_another_machine_needs_a_token_everywhere(visit: FlaskClient, ask: FlaskClient, peer: str) -> None:
    there = {"REMOTE_ADDR": peer}
    for path in [*LOOKS, "/admin/", "/admin/queues/token-refresh"]:
        answer = visit.get(path, environ_base=there)
        assert answer.status_code == 401, path
        assert "only this machine may ask without a token" in answer.text
        assert "NOMAD_ADMIN_TOKENS" in answer.text
    assert ask.get("/metrics", environ_base=there).status_code == 200
    assert visit.get("/healthz", environ_base=there).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:3000", "127.0.0.1:8080", "[::1]", "[::1]:3000", "LOCALHOST"])
def test_a_host_of_this_machine_is_let_in(visit: FlaskClient, host: str) -> None:
    assert visit.get("/metrics", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "", "a@localhost", "localhost:x"],
)
def test_a_host_of_elsewhere_is_refused(visit: FlaskClient, ask: FlaskClient, host: str) -> None:
    for client in (visit, ask):
        answer = client.get("/metrics", headers={"Host": host})
        assert answer.status_code == 403
        assert answer.mimetype == "application/problem+json"


FORWARDED = [
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything", "x-forwarded-port"),
    *("Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "CF-Ray", "True-Client-IP", "X-Client-IP"),
    *("X-Cluster-Client-IP", "Fastly-Client-IP", "X-Original-URL", "X-Envoy-External-Address", "CDN-Loop"),
]


def test_what_looks_forwarded_is_not_shown_anything_without_a_token(visit: FlaskClient, ask: FlaskClient) -> None:
    for header in FORWARDED:
        answer = visit.get("/metrics", headers={header: "127.0.0.1"})
        assert answer.status_code == 401, header
        assert header.lower() in answer.text.lower()
        assert "NOMAD_ADMIN_TOKENS" in answer.text
    page = visit.get("/admin/", headers={"Via": "1.1 x"})
    assert (page.status_code, page.mimetype, "NOMAD_ADMIN_TOKENS" in page.text) == (401, "text/html", True)
    assert ask.get("/admin/", headers={"Via": "1.1 x"}).status_code == 200


def test_http_1_0_is_what_a_proxy_speaks_that_says_nothing_of_itself(visit: FlaskClient, ask: FlaskClient) -> None:
    old = {"SERVER_PROTOCOL": "HTTP/1.0"}
    answer = visit.get("/admin/jobs/queues", environ_overrides=old)
    assert (answer.status_code, "HTTP/1.0" in answer.text, "NOMAD_ADMIN_TOKENS" in answer.text) == (401, True, True)
    assert visit.post(PAUSE, environ_overrides=old).status_code == 401
    assert ask.get("/admin/jobs/queues", environ_overrides=old).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_another_sites_page_changes_nothing(ask: FlaskClient, parts: Parts, headers: dict[str, str]) -> None:
    assert ask.post(PAUSE, headers=headers).status_code == 403
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        # Whoever ended TLS before us has our port's name.
        {"Origin": "https://localhost"},
        {},
    ],
)
def test_our_own_page_and_a_program_may_change(ask: FlaskClient, parts: Parts, headers: dict[str, str]) -> None:
    assert ask.post(PAUSE, headers=headers).status_code == 200
    assert parts.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize(
    ("path", "status"),
    [("/healthz", 200), ("/metrics", 200), ("/nothing", 404), ("/admin/static/admin.css", 200), ("/", 302)],
)
def test_every_answer_has_the_security_headers(ask: FlaskClient, path: str, status: int) -> None:
    answer = ask.get(path)
    answer.close()
    assert answer.status_code == status
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    for header in ("Referrer-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy"):
        assert answer.headers[header] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("raw", [b"", b"{}", b'{"reason": "cut o'])
def test_a_body_that_was_cut_off_does_nothing(ask: FlaskClient, parts: Parts, raw: bytes, terminated: bool) -> None:
    """Some servers say that a body ends by itself, which lets Werkzeug look at no length."""
    said = {"CONTENT_LENGTH": "47", "wsgi.input_terminated": terminated}
    answer = ask.post(PAUSE, data=raw, content_type="application/json", environ_overrides=said)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused
    (entry,) = parts.store.audit.read(10)[0]
    assert (entry.refused, entry.reason, entry.status) == (True, "body", 400)


def test_a_form_with_files_is_none_of_ours(ask: FlaskClient, parts: Parts) -> None:
    data = {f"field{number}": (io.BytesIO(b"x"), "x") for number in range(1_500)}
    answer = ask.post("/admin/queues/token-refresh/pause", data=data)
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    again = {name: (io.BytesIO(b"x"), "x") for name in list(data)[:300]}
    assert ask.post(PAUSE, data=again).status_code == 422
    assert not parts.queues.get_queue("token-refresh").snapshot().is_paused
    assert [(entry.reason, entry.status) for entry in parts.store.audit.read(9)[0]] == [(None, 422), ("csrf", 403)]


def test_a_form_that_is_too_large_is_refused_and_written_down(ask: FlaskClient, parts: Parts) -> None:
    answer = ask.post("/admin/queues/token-refresh/pause", data={"reason": "x" * 1_100_000})
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert [(entry.reason, entry.status) for entry in parts.store.audit.read(9)[0]] == [("size", 413)]
