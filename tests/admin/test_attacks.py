"""Attacks on an admin in its own process: each is refused and audited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from nomad_actors.clock import SystemClock
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.store import Store, TokenCipher
from nomad_actors.testing import wait_until

from .admin_process import (
    API,
    ENTRIES,
    LEAVER,
    OPERATOR,
    PAGE,
    VIEWER,
    Served,
    checked_admin,
    form_token,
    running_admin,
)

JSON = {"Content-Type": "application/json"}
#: The request and its token, and the refusal: the status and the audit log's reason.
TABLE: dict[str, tuple[str, str, str | None, dict[str, Any], int, str | None]] = {
    "no token": ("POST", f"{API}/pause", None, {}, 401, "no_token"),
    "wrong token": ("POST", f"{API}/pause", "w" * 43, {}, 401, "token"),
    "wrong token, to look": ("GET", f"{API}/jobs", "x" * 43, {}, 401, "token"),
    "token of another scheme": ("GET", API, None, {"headers": {"Authorization": f"Basic {OPERATOR}"}}, 401, "token"),
    "a viewer changes": ("POST", f"{API}/pause", VIEWER, {}, 403, "role"),
    "a viewer removes": ("DELETE", f"{API}/jobs/x", VIEWER, {}, 403, "role"),
    "a viewer sets limits": ("PUT", f"{API}/limits", VIEWER, {"json": {"concurrency": 1}}, 403, "role"),
    "a viewer presses a button": ("POST", f"{PAGE}/pause", VIEWER, {}, 403, "role"),
    "a form without its token": ("POST", f"{PAGE}/pause", OPERATOR, {}, 403, "csrf"),
    "a form with a wrong token": ("POST", f"{PAGE}/pause", OPERATOR, {"data": {"form_token": "0" * 64}}, 403, "csrf"),
    "another host's name": ("POST", f"{API}/pause", OPERATOR, {"headers": {"Host": "evil.example"}}, 403, "host"),
    "a host with a login": ("GET", API, VIEWER, {"headers": {"Host": "a@localhost"}}, 403, "host"),
    "another site's page": (
        "POST",
        f"{API}/pause",
        OPERATOR,
        {"headers": {"Origin": "https://evil.example"}},
        403,
        "site",
    ),
    "a neighbour's page": ("POST", f"{API}/pause", OPERATOR, {"headers": {"Sec-Fetch-Site": "same-site"}}, 403, "site"),
    "a way up in a queue": ("POST", "/admin/jobs/queues/%2e%2e/pause", OPERATOR, {}, 404, None),
    "a way up in an id": ("POST", f"{API}/jobs/%2e%2e%2f%2e%2e%2fpause/retry", OPERATOR, {}, 404, None),
    "slashes in an id": ("DELETE", f"{API}/jobs/etc//passwd", OPERATOR, {}, 404, None),
    "NUL in an id": ("POST", f"{API}/jobs/a%00b/retry", OPERATOR, {}, 404, None),
    "broken UTF-8 in an id": ("POST", f"{API}/jobs/a%ff%feb/retry", OPERATOR, {}, 404, None),
    "a very long id": ("POST", f"{API}/jobs/{'x' * 3500}/retry", OPERATOR, {}, 404, None),
    "HTML in an id": ("POST", f"{API}/jobs/%3Cscript%3Ealert(1)%3C%2Fscript%3E/retry", OPERATOR, {}, 404, None),
    "HTML in a schedule's name": ("POST", "/admin/jobs/scheduler/%3Cscript%3E/start", OPERATOR, {}, 404, None),
    "a large body": ("POST", f"{API}/jobs", OPERATOR, {"data": b" " * 1_200_000, "headers": JSON}, 413, "size"),
    "a deep body": ("POST", f"{API}/jobs", OPERATOR, {"data": b"[" * 200_000, "headers": JSON}, 422, None),
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, redis_server: LocalRedis) -> Iterator[Served]:
    """An admin for the attacks that do not change its state."""
    with checked_admin(tmp_path_factory.mktemp("attacked"), redis_server.url, wait_until) as running:
        yield running


def test_every_attack_is_refused_and_audited(attacked: Served) -> None:
    for name, (method, path, token, more, status, reason) in TABLE.items():
        response = attacked.request(method, path, token, **more)
        assert response.status_code == status, (name, response.text)
        is_page = path.startswith("/admin/queues")
        kind = "text/html" if is_page else "application/problem+json"
        assert response.headers["Content-Type"].startswith(kind), name
        entry = attacked.audit()[0]
        assert (entry["refused"], entry["status"]) == (reason, status), name
        assert (entry["requestId"], entry["peer"]) == (response.headers["X-Request-Id"], "127.0.0.1"), name
        assert not attacked.is_paused(), name
        attacked.expected_request_ids.append(entry["requestId"])


def test_a_large_body_of_unknown_length_is_refused_and_audited(attacked: Served) -> None:
    response = attacked.request("POST", f"{API}/jobs", OPERATOR, data=(b" " * 65_536 for _ in range(32)), headers=JSON)
    assert response.status_code == 413
    assert attacked.audit()[0]["refused"] == "size"


def test_a_request_id_cannot_inject_a_header(attacked: Served) -> None:
    for value in (b"x\r\n injected: 1", b"x\x0binjected", b"x" * 5000, b"<script>", b"a\tb"):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + value
        head = attacked.send_raw(request + b"\r\n\r\n").partition(b"\r\n\r\n")[0]
        assert not re.search(rb"\n\s*injected", head), value
        request_id = re.search(rb"X-Request-Id: (\S*)", head)
        # Either the server refuses such a header, or the admin replaces the id.
        assert re.fullmatch(rb"[0-9a-f]{32}", request_id[1]) if request_id else b" 400 " in head, value


def test_a_form_of_another_session_is_refused_and_audited(attacked: Served) -> None:
    otto, leo = attacked.log_in(OPERATOR), attacked.log_in(LEAVER)
    leos = form_token(leo.get(attacked.url + PAGE, timeout=20).text)
    response = otto.post(f"{attacked.url}{PAGE}/pause", data={"form_token": leos}, timeout=20)
    assert response.status_code == 403
    entry = attacked.audit()[0]
    assert (entry["refused"], entry["actor"]) == ("csrf", "otto")
    assert not attacked.is_paused()


def test_a_tampered_cookie_is_refused_and_audited(attacked: Served) -> None:
    cookie = attacked.log_in(VIEWER).cookies["nomad_session"]
    before = [entry["refused"] for entry in attacked.audit()].count("session")
    wrong = [cookie[:-1] + ("A" if cookie[-1] != "A" else "B"), cookie[::-1], f"{cookie}.{cookie}", cookie[1:], "x"]
    for number, each in enumerate(wrong, 1):
        response = attacked.request("GET", "/admin/", headers={"Cookie": f"nomad_session={each}"})
        assert (response.status_code, response.headers["Location"]) == (303, "/admin/login"), each
        assert [entry["refused"] for entry in attacked.audit()].count("session") == before + number
    untouched = attacked.request("GET", "/admin/", headers={"Cookie": f"nomad_session={cookie}"})
    assert untouched.status_code == 200


def test_removing_a_token_ends_its_sessions(
    served: Served, tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    leos, ottos = (served.log_in(token).cookies["nomad_session"] for token in (LEAVER, OPERATOR))
    with running_admin(tmp_path, redis_url, wait_until, ENTRIES[:2]) as later:
        statuses = [
            later.request("GET", "/admin/", headers={"Cookie": f"nomad_session={cookie}"}).status_code
            for cookie in (leos, ottos)
        ]
        assert statuses == [303, 200]
        assert later.audit()[0]["refused"] == "session"
        assert later.request("GET", API, LEAVER).status_code == 401


def test_guessing_at_the_login_ends_with_429_and_few_audit_entries(served: Served) -> None:
    session = requests.Session()
    token = form_token(session.get(f"{served.url}/admin/login", timeout=20).text)

    def guess(wrong: str) -> requests.Response:
        body = {"token": wrong, "form_token": token}
        return session.post(f"{served.url}/admin/login", data=body, timeout=20, allow_redirects=False)

    assert [guess(f"guess {number}").status_code for number in range(10)] == [401] * 10
    response = guess("another")
    assert response.status_code == 429
    assert 500 < int(response.headers["Retry-After"]) <= 600
    assert "nomad_session" not in session.cookies
    for _ in range(60):
        guess("more")
    assert served.request("GET", API, VIEWER).status_code == 200
    # 10 wrong tokens and 50 that came too fast; a longer flood adds no more rows.
    database = f"sqlite:///{served.log_file.parent}/nomad.db"
    store = Store(database, cipher=TokenCipher(["key"]), clock=SystemClock())
    reasons = [entry.reason for entry in store.audit.read(1000)[0]]
    store.close()
    assert (reasons.count("token"), reasons.count("tries")) == (10, 50)


def test_html_in_a_payload_is_shown_as_text_on_every_page(attacked: Served) -> None:
    script = "<script>alert('x')</script>"
    queue = "cache-cleanup"
    body = {"name": queue, "data": {"type": "pattern", "pattern": f"esi:{script}"}}
    added = attacked.request("POST", f"/admin/jobs/queues/{queue}/jobs", OPERATOR, json=body)
    assert added.status_code == 201, added.text
    cancelled = attacked.request("POST", f"/admin/jobs/queues/{queue}/jobs", OPERATOR, json=body).json()["id"]
    for path in (f"{queue}/jobs/{cancelled}/cancel", f"{queue}/pause"):
        assert (
            attacked.request("POST", f"/admin/jobs/queues/{path}", OPERATOR, json={"reason": script}).status_code == 200
        )
    shows = ["/admin/audit", *(f"/admin/queues/{queue}{end}" for end in ("", "?status=failed"))]
    shows += [f"/admin/queues/{queue}/jobs/{job_id}" for job_id in (added.json()["id"], cancelled)]
    for path in ("/admin/", "/admin/bulk", *shows, f"{PAGE}/jobs/%3Cscript%3Ealert"):
        page = attacked.request("GET", path, VIEWER).text
        assert "<script" not in page, path
        assert path not in shows or "&lt;script&gt;alert(" in page, path
