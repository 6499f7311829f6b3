"""Attacks on an admin that is really served: each refused, and written down."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from admin.serve import THREADS
from nomad_actors.admin_tokens import token_entry
from nomad_actors.clock import SystemClock
from nomad_actors.store import Store, TokenCipher

from .test_serve import start

VIEWER, OPERATOR, LEAVER = "v" * 43, "o" * 43, "l" * 43
ENTRIES = [
    token_entry("vera", "viewer", VIEWER).entry,
    token_entry("otto", "operator", OPERATOR).entry,
    token_entry("leo", "operator", LEAVER).entry,
]
API = "/admin/jobs/queues/token-refresh"
PAGE = "/admin/queues/token-refresh"


@dataclass
class Served:
    """An admin in a process of its own, and what it said."""

    url: str
    said: Path
    #: The ids of requests that its log must tell of.
    told: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return requests.request(method, self.url + path, headers=headers, timeout=20, allow_redirects=False, **more)

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and return the whole answer."""
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65_536):
                answer += chunk
        return answer

    def log_in(self, token: str) -> requests.Session:
        session = requests.Session()
        page = session.get(f"{self.url}/admin/login", timeout=20).text
        body = {"token": token, "form_token": form_token(page)}
        done = session.post(f"{self.url}/admin/login", data=body, timeout=20, allow_redirects=False)
        assert done.headers["Location"] == "/admin/"
        return session

    def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/admin/jobs/audit?limit=1000", VIEWER).json()["entries"]
        return found

    def is_paused(self) -> bool:
        return bool(self.ask("GET", API, VIEWER).json()["isPaused"])


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


def serving(tmp_path: Path, redis_url: str, wait_until: Callable[..., None], tokens: list[str]) -> Iterator[Served]:
    ready, said = tmp_path / f"ready-{len(tokens)}", tmp_path / "said"
    process = start(tmp_path, redis_url, "--ready-file", str(ready), NOMAD_ADMIN_TOKENS=",".join(tokens))
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        yield Served(ready.read_text().strip(), said)
    finally:
        process.terminate()
        _, lines = process.communicate(timeout=20)
        said.write_text(lines)


@pytest.fixture
def served(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Served]:
    """An admin with a viewer and two operators."""
    admin = serving(tmp_path, redis_url, wait_until, ENTRIES)
    running = next(admin)
    yield running
    with pytest.raises(StopIteration):
        next(admin)
    # Whatever was tried: no token is in the log, and every attack is, by its request's id.
    lines = (tmp_path / "said").read_text().splitlines()
    assert not any(token in line for line in lines for token in (VIEWER, OPERATOR, LEAVER))
    told = {found[1] for line in lines if (found := re.search(r"event=(?:refused|change) .*request_id=(\S+)", line))}
    assert set(running.told) <= told


JSON = {"Content-Type": "application/json"}
#: What is sent, with which token, and how it is refused: status, and the audit log's word.
TABLE: dict[str, tuple[str, str, str | None, dict[str, Any], int, str | None]] = {
    "no token": ("POST", f"{API}/pause", None, {}, 401, "no_token"),
    "wrong token": ("POST", f"{API}/pause", "w" * 43, {}, 401, "token"),
    "wrong token, to look": ("GET", f"{API}/jobs", "w" * 43, {}, 401, "token"),
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


def test_every_attack_is_refused_and_written_down(served: Served) -> None:
    for name, (method, path, token, more, status, reason) in TABLE.items():
        answer = served.ask(method, path, token, **more)
        assert answer.status_code == status, (name, answer.text)
        is_page = path.startswith("/admin/queues")
        kind = "text/html" if is_page else "application/problem+json"
        assert answer.headers["Content-Type"].startswith(kind), name
        entry = served.audit()[0]
        assert (entry["refused"], entry["status"]) == (reason, status), name
        assert (entry["requestId"], entry["peer"]) == (answer.headers["X-Request-Id"], "127.0.0.1"), name
        assert not served.is_paused(), name
        served.told.append(entry["requestId"])


def test_a_large_body_of_unknown_length_is_refused_and_written_down(served: Served) -> None:
    answer = served.ask("POST", f"{API}/jobs", OPERATOR, data=(b" " * 65_536 for _ in range(32)), headers=JSON)
    assert answer.status_code == 413
    assert served.audit()[0]["refused"] == "size"


def test_a_request_id_brings_no_header_of_its_own(served: Served) -> None:
    for given in (b"x\r\n injected: 1", b"x\x0binjected", b"x" * 5000, b"<script>", b"a\tb"):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + given
        head = served.raw(request + b"\r\n\r\n").partition(b"\r\n\r\n")[0]
        assert not re.search(rb"\n\s*injected", head), given
        told = re.search(rb"X-Request-Id: (\S*)", head)
        # Either gunicorn refuses such a header, or the id is one of ours.
        assert re.fullmatch(rb"[0-9a-f]{32}", told[1]) if told else b" 400 " in head, given


def test_another_sessions_form_is_refused_and_written_down(served: Served) -> None:
    otto, leo = served.log_in(OPERATOR), served.log_in(LEAVER)
    leos = form_token(leo.get(served.url + PAGE, timeout=20).text)
    answer = otto.post(f"{served.url}{PAGE}/pause", data={"form_token": leos}, timeout=20)
    assert answer.status_code == 403
    entry = served.audit()[0]
    assert (entry["refused"], entry["actor"]) == ("csrf", "otto")
    assert not served.is_paused()


def test_a_cookie_that_was_tampered_with_is_no_session_and_written_down(served: Served) -> None:
    cookie = served.log_in(VIEWER).cookies["nomad_session"]
    body, _, signature = cookie.partition(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    higher = base64.urlsafe_b64encode(json.dumps(told | {"name": "otto"}).encode()).decode().rstrip("=")
    later = base64.urlsafe_b64encode(json.dumps(told | {"at": told["at"] + 1}).encode()).decode().rstrip("=")
    wrong = [f"{higher}.{signature}", f"{later}.{signature}", f"{body}.", body, f"{body}.{signature[:-4]}AAAA", "x"]
    for number, each in enumerate(wrong, 1):
        answer = served.ask("GET", "/admin/", headers={"Cookie": f"nomad_session={each}"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/login"), each
        assert [entry["refused"] for entry in served.audit()].count("session") == number
    kept = served.ask("GET", "/admin/", headers={"Cookie": f"nomad_session={cookie}"})
    assert kept.status_code == 200


def test_a_removed_tokens_session_is_over(
    served: Served, tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    leos, ottos = (served.log_in(token).cookies["nomad_session"] for token in (LEAVER, OPERATOR))
    admin = serving(tmp_path, redis_url, wait_until, ENTRIES[:2])
    later = next(admin)
    try:
        statuses = [
            later.ask("GET", "/admin/", headers={"Cookie": f"nomad_session={cookie}"}).status_code
            for cookie in (leos, ottos)
        ]
        assert statuses == [303, 200]
        assert later.audit()[0]["refused"] == "session"
        assert later.ask("GET", API, LEAVER).status_code == 401
    finally:
        with pytest.raises(StopIteration):
            next(admin)


def test_guessing_at_the_login_ends_with_429_and_few_rows(served: Served) -> None:
    session = requests.Session()
    token = form_token(session.get(f"{served.url}/admin/login", timeout=20).text)

    def guess(said: str) -> requests.Response:
        body = {"token": said, "form_token": token}
        return session.post(f"{served.url}/admin/login", data=body, timeout=20, allow_redirects=False)

    assert [guess(f"guess {number}").status_code for number in range(10)] == [401] * 10
    answer = guess(OPERATOR)
    assert answer.status_code == 429
    assert 500 < int(answer.headers["Retry-After"]) <= 600
    assert "nomad_session" not in session.cookies
    for _ in range(60):
        guess("more")
    with_token = served.ask("GET", API, VIEWER)
    assert with_token.status_code == 429
    # 10 wrong ones, then 50 of those that came too often: no flood writes more.
    database = f"sqlite:///{served.said.parent}/nomad.db"
    store = Store(database, cipher=TokenCipher(["key"]), clock=SystemClock())
    reasons = [entry.reason for entry in store.audit.read(1000)[0]]
    store.close()
    assert (reasons.count("token"), reasons.count("tries")) == (10, 50)


def test_html_in_a_payload_is_shown_as_text_on_every_page(served: Served) -> None:
    script = "<script>alert('x')</script>"
    queue = "cache-cleanup"
    body = {"name": queue, "data": {"type": "pattern", "pattern": f"esi:{script}"}}
    added = served.ask("POST", f"/admin/jobs/queues/{queue}/jobs", OPERATOR, json=body)
    assert added.status_code == 201, added.text
    cancelled = served.ask("POST", f"/admin/jobs/queues/{queue}/jobs", OPERATOR, json=body).json()["id"]
    for path in (f"{queue}/jobs/{cancelled}/cancel", f"{queue}/pause"):
        assert served.ask("POST", f"/admin/jobs/queues/{path}", OPERATOR, json={"reason": script}).status_code == 200
    shows = ["/admin/audit", *(f"/admin/queues/{queue}{end}" for end in ("", "?status=failed"))]
    shows += [f"/admin/queues/{queue}/jobs/{job_id}" for job_id in (added.json()["id"], cancelled)]
    for path in ("/admin/", "/admin/bulk", *shows, f"{PAGE}/jobs/%3Cscript%3Ealert"):
        page = served.ask("GET", path, VIEWER).text
        assert "<script" not in page, path
        assert path not in shows or "&lt;script&gt;alert(" in page, path


POST_HEAD = (
    f"POST {API}/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATOR}\r\n"
    "Content-Type: application/json\r\n"
)
#: Enough to hold every thread, and more.
MANY = 24
STYLE = b"GET /admin/static/admin.css HTTP/1.1\r\nHost: localhost\r\n\r\n"


def assert_others_are_answered(served: Served) -> None:
    for _ in range(3):
        answer = requests.get(f"{served.url}/healthz", timeout=20)
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 3


@contextlib.contextmanager
def connected(served: Served, count: int) -> Iterator[list[socket.socket]]:
    """So many clients with small hands."""
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.socket(socket.AF_INET)
            opened.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(20)
            client.connect(served.address)
        yield opened
    finally:
        for client in opened:
            client.close()


SLOWLY = [
    b"",
    b"GET /admin/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    (POST_HEAD + "Content-Length: 1000\r\n\r\n{").encode(),
    (POST_HEAD + "Transfer-Encoding: chunked\r\n\r\nff\r\n{").encode(),
]


def test_slow_senders_do_not_block_others(served: Served) -> None:
    for slowly in SLOWLY:
        with connected(served, MANY) as slow:
            for client in slow:
                client.sendall(slowly)
            for _ in range(3):
                assert_others_are_answered(served)
                for client in slow:
                    client.sendall(b"x")


@pytest.mark.slow
def test_clients_that_do_not_read_do_not_block_others(served: Served) -> None:
    # As many as would hold every thread: more of them only take longer until nothing of theirs is taken on.
    with connected(served, THREADS + 1) as deaf:
        for client in deaf:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall(STYLE * 3_000)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            assert_others_are_answered(served)


def test_clients_that_do_not_hang_up_do_not_block_others(served: Served) -> None:
    with connected(served, MANY) as clinging:
        for client in clinging:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert_others_are_answered(served)


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\n"])
def test_more_connections_than_there_may_be_keep_nobody_out(served: Served, said: bytes) -> None:
    clients: list[socket.socket] = []
    over = threading.Event()

    def come_back() -> None:
        """Open as many as one may, and each again that is closed."""
        while not over.is_set():
            if len(clients) < 700:
                with contextlib.suppress(OSError):
                    clients.append(socket.create_connection(served.address, timeout=5))
                    clients[-1].sendall(said)
                    clients[-1].setblocking(False)
                continue
            for client in clients[:]:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    if not client.recv(1000):
                        client.close()
                        clients.remove(client)

    flood = threading.Thread(target=come_back)
    flood.start()
    try:
        end = time.monotonic() + 6
        while time.monotonic() < end:
            assert_others_are_answered(served)
    finally:
        over.set()
        flood.join()
        for client in clients:
            client.close()


def test_requests_of_one_connection_are_answered_in_turn(served: Served) -> None:
    missing = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = served.raw(b"\r\n" + STYLE * 3 + b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + missing + STYLE)
    # What comes after the one that closes is not answered.
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 3 + [b"302", b"401"]


def test_a_client_that_waits_before_it_sends_its_body_is_told_to(served: Served) -> None:
    with socket.create_connection(served.address, timeout=20) as client:
        length = b"Content-Length: 2\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(POST_HEAD.encode() + length)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(100_000).startswith(b"HTTP/1.1 200 OK")
    assert served.is_paused()


NOT_WHOLE = [
    b'Content-Length: 47\r\n\r\n{"forMs": 1800000',
    b"Content-Length: 47\r\n\r\n",
    b"Content-Length: 500\r\n\r\n{}",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
]


def test_a_body_that_does_not_come_whole_changes_nothing_and_is_written_down(served: Served) -> None:
    for number, sent in enumerate(NOT_WHOLE, 1):
        with socket.create_connection(served.address, timeout=20) as client:
            client.sendall(POST_HEAD.encode() + sent)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda client=client: client.recv(65_536), b""))  # type: ignore[misc]
        assert answer.startswith(b"HTTP/1.1 400 "), sent
        assert b"application/problem+json" in answer
        assert not served.is_paused()
        assert [(entry["refused"], entry["status"]) for entry in served.audit()] == [("body", 400)] * number


def test_a_head_without_an_end_is_refused(served: Served) -> None:
    answer = served.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-More: " + b"x" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.slow
def test_what_never_comes_whole_is_given_up(served: Served) -> None:
    """Nobody waits for these; after their time each is told what can be told."""
    sent = {
        b"": b"",
        b"GET /healthz": b"HTTP/1.1 408 ",
        POST_HEAD.encode() + b"Content-Length: 9\r\n\r\n{": b"HTTP/1.1 400 ",
    }
    with contextlib.ExitStack() as stack:
        clients = {said: stack.enter_context(socket.create_connection(served.address, timeout=30)) for said in sent}
        for said, client in clients.items():
            client.sendall(said)
        for said, expected in sent.items():
            answer = b"".join(iter(lambda said=said: clients[said].recv(65_536), b""))  # type: ignore[misc]
            assert (answer.startswith(expected), bool(answer)) == (True, bool(expected))
    assert not served.is_paused()
