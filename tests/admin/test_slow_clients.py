"""Clients that send slowly, do not read, do not hang up, come in crowds or send half of it: they keep nobody out."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from admin.serve import THREADS

from .served import API, OPERATOR, Served

pytestmark = pytest.mark.slow

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
