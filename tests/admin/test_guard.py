"""Access without a token: only from this machine, and not from another site's web page."""

from __future__ import annotations

import io

import pytest
from flask.testing import FlaskClient

from .conftest import AdminApp

PAUSE = "/admin/jobs/queues/token-refresh/pause"


#: Paths that this machine may read without a token.
READABLE = ["/admin/jobs/health", "/admin/jobs/queues", "/metrics", "/readyz", "/admin/doctor", "/admin/openapi.json"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_read_without_a_token(visitor: FlaskClient, peer: str) -> None:
    visitor.environ_base["REMOTE_ADDR"] = peer
    for path in READABLE:
        assert visitor.get(path).status_code in (200, 503), path
    page = visitor.get("/admin/")
    assert page.status_code == 200
    assert "Log in to make changes" in page.text


def test_a_change_without_a_token_is_refused_and_says_what_to_do(visitor: FlaskClient, app: AdminApp) -> None:
    for path in (PAUSE, "/admin/queues/token-refresh/pause"):
        response = visitor.post(path)
        assert response.status_code == 401
        assert "nomad admin link" in response.text
        assert "admin-token" in response.text
    response = visitor.delete("/admin/jobs/queues/token-refresh/jobs/x")
    assert (response.status_code, response.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    assert [(entry.actor, entry.reason) for entry in app.store.audit.read(9)[0]] == [("", "no_token")] * 3


def test_a_visitor_sees_no_buttons(visitor: FlaskClient, app: AdminApp) -> None:
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    job_id = app.add()
    for path in (
        "",
        "queues/token-refresh",
        f"queues/token-refresh/jobs/{job_id}",
        "schedules/nightly",
        "bulk",
        "audit",
    ):
        page = visitor.get(f"/admin/{path}")
        assert page.status_code == 200
        assert 'method="post"' not in page.text, path


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "2001:db8::1", "", "unix:"])
def test_another_machine_needs_a_token_everywhere(visitor: FlaskClient, operator: FlaskClient, peer: str) -> None:
    environ = {"REMOTE_ADDR": peer}
    for path in [*READABLE, "/admin/", "/admin/queues/token-refresh"]:
        response = visitor.get(path, environ_base=environ)
        assert response.status_code == 401, path
        assert "only this machine may send requests without a token" in response.text
        assert "NOMAD_ADMIN_TOKENS" in response.text
    assert operator.get("/metrics", environ_base=environ).status_code == 200
    assert visitor.get("/healthz", environ_base=environ).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:3000", "127.0.0.1:8080", "[::1]", "[::1]:3000", "LOCALHOST"])
def test_a_loopback_host_is_accepted(visitor: FlaskClient, host: str) -> None:
    assert visitor.get("/metrics", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "", "a@localhost", "localhost:x"],
)
def test_another_host_is_refused(visitor: FlaskClient, operator: FlaskClient, host: str) -> None:
    for client in (visitor, operator):
        response = client.get("/metrics", headers={"Host": host})
        assert response.status_code == 403
        assert response.mimetype == "application/problem+json"


FORWARDED = [
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything", "x-forwarded-port"),
    *("Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "CF-Ray", "True-Client-IP", "X-Client-IP"),
    *("X-Cluster-Client-IP", "Fastly-Client-IP", "X-Original-URL", "X-Envoy-External-Address", "CDN-Loop"),
]


def test_a_forwarded_request_needs_a_token(visitor: FlaskClient, operator: FlaskClient) -> None:
    for header in FORWARDED:
        response = visitor.get("/metrics", headers={header: "127.0.0.1"})
        assert response.status_code == 401, header
        assert header.lower() in response.text.lower()
        assert "NOMAD_ADMIN_TOKENS" in response.text
    page = visitor.get("/admin/", headers={"Via": "1.1 x"})
    assert (page.status_code, page.mimetype, "NOMAD_ADMIN_TOKENS" in page.text) == (401, "text/html", True)
    assert operator.get("/admin/", headers={"Via": "1.1 x"}).status_code == 200


def test_http_1_0_counts_as_a_proxy_without_headers(visitor: FlaskClient, operator: FlaskClient) -> None:
    old = {"SERVER_PROTOCOL": "HTTP/1.0"}
    response = visitor.get("/admin/jobs/queues", environ_overrides=old)
    assert (response.status_code, "HTTP/1.0" in response.text, "NOMAD_ADMIN_TOKENS" in response.text) == (
        401,
        True,
        True,
    )
    assert visitor.post(PAUSE, environ_overrides=old).status_code == 401
    assert operator.get("/admin/jobs/queues", environ_overrides=old).status_code == 200


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
def test_another_sites_page_changes_nothing(operator: FlaskClient, app: AdminApp, headers: dict[str, str]) -> None:
    assert operator.post(PAUSE, headers=headers).status_code == 403
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        # A proxy that terminates TLS has the same host.
        {"Origin": "https://localhost"},
        {},
    ],
)
def test_our_own_page_and_a_program_may_make_changes(
    operator: FlaskClient, app: AdminApp, headers: dict[str, str]
) -> None:
    assert operator.post(PAUSE, headers=headers).status_code == 200
    assert app.queues.get_queue("token-refresh").snapshot().is_paused


@pytest.mark.parametrize(
    ("path", "status"),
    [("/healthz", 200), ("/metrics", 200), ("/nothing", 404), ("/admin/static/admin.css", 200), ("/", 302)],
)
def test_every_response_has_the_security_headers(operator: FlaskClient, path: str, status: int) -> None:
    response = operator.get(path)
    response.close()
    assert response.status_code == status
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Cache-Control"] == "no-store"
    for header in ("Referrer-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy"):
        assert response.headers[header] == "same-origin"
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("raw", [b"", b"{}", b'{"reason": "cut o'])
def test_a_truncated_body_changes_nothing(operator: FlaskClient, app: AdminApp, raw: bytes, terminated: bool) -> None:
    # With `wsgi.input_terminated` Werkzeug does not check the length of a body.
    environ = {"CONTENT_LENGTH": "47", "wsgi.input_terminated": terminated}
    response = operator.post(PAUSE, data=raw, content_type="application/json", environ_overrides=environ)
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    (entry,) = app.store.audit.read(10)[0]
    assert (entry.reason, entry.status) == ("body", 400)


def test_a_form_with_files_is_refused(operator: FlaskClient, app: AdminApp) -> None:
    data = {f"field{number}": (io.BytesIO(b"x"), "x") for number in range(1_500)}
    response = operator.post("/admin/queues/token-refresh/pause", data=data)
    assert (response.status_code, response.mimetype) == (403, "text/html")
    few_files = {name: (io.BytesIO(b"x"), "x") for name in list(data)[:300]}
    assert operator.post(PAUSE, data=few_files).status_code == 422
    assert not app.queues.get_queue("token-refresh").snapshot().is_paused
    assert [(entry.reason, entry.status) for entry in app.store.audit.read(9)[0]] == [(None, 422), ("csrf", 403)]


def test_a_form_that_is_too_large_is_refused_and_audited(operator: FlaskClient, app: AdminApp) -> None:
    response = operator.post("/admin/queues/token-refresh/pause", data={"reason": "x" * 1_100_000})
    assert (response.status_code, response.mimetype) == (413, "text/html")
    assert [(entry.reason, entry.status) for entry in app.store.audit.read(9)[0]] == [("size", 413)]
