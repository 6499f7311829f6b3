"""Attacks on an admin that is really served: each refused, and written down."""

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

from .served import API, ENTRIES, LEAVER, OPERATOR, PAGE, VIEWER, Served, a_watched_admin, an_admin, form_token

JSON = {"Content-Type": "application/json"}
#: What is sent, with which token, and how it is refused: status, and the audit log's word.
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
    """An admin for those attacks that leave it as it was."""
    with a_watched_admin(tmp_path_factory.mktemp("attacked"), redis_server.url, wait_until) as running:
        yield running


def test_every_attack_is_refused_and_written_down(attacked: Served) -> None:
    for name, (method, path, token, more, status, reason) in TABLE.items():
        answer = attacked.ask(method, path, token, **more)
        assert answer.status_code == status, (name, answer.text)
        is_page = path.startswith("/admin/queues")
        kind = "text/html" if is_page else "application/problem+json"
        assert answer.headers["Content-Type"].startswith(kind), name
        entry = attacked.audit()[0]
        assert (entry["refused"], entry["status"]) == (reason, status), name
        assert (entry["requestId"], entry["peer"]) == (answer.headers["X-Request-Id"], "127.0.0.1"), name
        assert not attacked.is_paused(), name
        attacked.told.append(entry["requestId"])


def test_a_large_body_of_unknown_length_is_refused_and_written_down(attacked: Served) -> None:
    answer = attacked.ask("POST", f"{API}/jobs", OPERATOR, data=(b" " * 65_536 for _ in range(32)), headers=JSON)
    assert answer.status_code == 413
    assert attacked.audit()[0]["refused"] == "size"


def test_a_request_id_brings_no_header_of_its_own(attacked: Served) -> None:
    for given in (b"x\r\n injected: 1", b"x\x0binjected", b"x" * 5000, b"<script>", b"a\tb"):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + given
        head = attacked.raw(request + b"\r\n\r\n").partition(b"\r\n\r\n")[0]
        assert not re.search(rb"\n\s*injected", head), given
        told = re.search(rb"X-Request-Id: (\S*)", head)
        # Either the server refuses such a header, or the id is one of ours.
        assert re.fullmatch(rb"[0-9a-f]{32}", told[1]) if told else b" 400 " in head, given


def test_another_sessions_form_is_refused_and_written_down(attacked: Served) -> None:
    otto, leo = attacked.log_in(OPERATOR), attacked.log_in(LEAVER)
    leos = form_token(leo.get(attacked.url + PAGE, timeout=20).text)
    answer = otto.post(f"{attacked.url}{PAGE}/pause", data={"form_token": leos}, timeout=20)
    assert answer.status_code == 403
    entry = attacked.audit()[0]
    assert (entry["refused"], entry["actor"]) == ("csrf", "otto")
    assert not attacked.is_paused()


def test_a_cookie_that_was_tampered_with_is_no_session_and_written_down(attacked: Served) -> None:
    cookie = attacked.log_in(VIEWER).cookies["nomad_session"]
    before = [entry["refused"] for entry in attacked.audit()].count("session")
    wrong = [cookie[:-1] + ("A" if cookie[-1] != "A" else "B"), cookie[::-1], f"{cookie}.{cookie}", cookie[1:], "x"]
    for number, each in enumerate(wrong, 1):
        answer = attacked.ask("GET", "/admin/", headers={"Cookie": f"nomad_session={each}"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/login"), each
        assert [entry["refused"] for entry in attacked.audit()].count("session") == before + number
    kept = attacked.ask("GET", "/admin/", headers={"Cookie": f"nomad_session={cookie}"})
    assert kept.status_code == 200


def test_a_removed_tokens_session_is_over(
    served: Served, tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    leos, ottos = (served.log_in(token).cookies["nomad_session"] for token in (LEAVER, OPERATOR))
    with an_admin(tmp_path, redis_url, wait_until, ENTRIES[:2]) as later:
        statuses = [
            later.ask("GET", "/admin/", headers={"Cookie": f"nomad_session={cookie}"}).status_code
            for cookie in (leos, ottos)
        ]
        assert statuses == [303, 200]
        assert later.audit()[0]["refused"] == "session"
        assert later.ask("GET", API, LEAVER).status_code == 401


def test_guessing_at_the_login_ends_with_429_and_few_rows(served: Served) -> None:
    session = requests.Session()
    token = form_token(session.get(f"{served.url}/admin/login", timeout=20).text)

    def guess(said: str) -> requests.Response:
        body = {"token": said, "form_token": token}
        return session.post(f"{served.url}/admin/login", data=body, timeout=20, allow_redirects=False)

    assert [guess(f"guess {number}").status_code for number in range(10)] == [401] * 10
    answer = guess("another")
    assert answer.status_code == 429
    assert 500 < int(answer.headers["Retry-After"]) <= 600
    assert "nomad_session" not in session.cookies
    for _ in range(60):
        guess("more")
    assert served.ask("GET", API, VIEWER).status_code == 200
    # 10 wrong ones, then 50 of those that came too often: no flood writes more.
    database = f"sqlite:///{served.said.parent}/nomad.db"
    store = Store(database, cipher=TokenCipher(["key"]), clock=SystemClock())
    reasons = [entry.reason for entry in store.audit.read(1000)[0]]
    store.close()
    assert (reasons.count("token"), reasons.count("tries")) == (10, 50)


def test_html_in_a_payload_is_shown_as_text_on_every_page(attacked: Served) -> None:
    script = "<script>alert('x')</script>"
    queue = "cache-cleanup"
    body = {"name": queue, "data": {"type": "pattern", "pattern": f"esi:{script}"}}
    added = attacked.ask("POST", f"/admin/jobs/queues/{queue}/jobs", OPERATOR, json=body)
    assert added.status_code == 201, added.text
    cancelled = attacked.ask("POST", f"/admin/jobs/queues/{queue}/jobs", OPERATOR, json=body).json()["id"]
    for path in (f"{queue}/jobs/{cancelled}/cancel", f"{queue}/pause"):
        assert attacked.ask("POST", f"/admin/jobs/queues/{path}", OPERATOR, json={"reason": script}).status_code == 200
    shows = ["/admin/audit", *(f"/admin/queues/{queue}{end}" for end in ("", "?status=failed"))]
    shows += [f"/admin/queues/{queue}/jobs/{job_id}" for job_id in (added.json()["id"], cancelled)]
    for path in ("/admin/", "/admin/bulk", *shows, f"{PAGE}/jobs/%3Cscript%3Ealert"):
        page = attacked.ask("GET", path, VIEWER).text
        assert "<script" not in page, path
        assert path not in shows or "&lt;script&gt;alert(" in page, path
