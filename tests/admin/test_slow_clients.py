"""Clients that send half of a request, wait before they go on, or never do.

That slow clients keep nobody out is in tests/http_server and in chaos/slow_clients.py.
"""

from __future__ import annotations

import re
import socket

import pytest

from admin.sizes import MAX_HEAD_BYTES

from .served import API, OPERATOR, Served

pytestmark = pytest.mark.slow

POST_HEAD = (
    f"POST {API}/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATOR}\r\n"
    "Content-Type: application/json\r\n"
)
STYLE = b"GET /admin/static/admin.css HTTP/1.1\r\nHost: localhost\r\n\r\n"


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
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
]
MALFORMED = [
    b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
]


def test_a_request_that_does_not_come_whole_changes_nothing(served: Served) -> None:
    for sent in (*NOT_WHOLE, *MALFORMED):
        with socket.create_connection(served.address, timeout=20) as client:
            client.sendall(POST_HEAD.encode() + sent)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda client=client: client.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 400 ") if sent in MALFORMED else answer == b"", sent
        assert not served.is_paused(), sent
        assert served.audit() == [], sent


def test_a_head_without_an_end_is_refused(served: Served) -> None:
    begun = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-More: "
    # Not a byte more: a connection that is closed while bytes still arrive is reset, and the answer lost.
    answer = served.raw(begun + b"x" * (MAX_HEAD_BYTES - len(begun)))
    assert answer.partition(b"\r\n")[0].endswith(b" 431 Request Header Fields Too Large")
