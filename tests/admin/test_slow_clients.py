"""Clients that send incomplete requests or pause within one.

tests/http_server and chaos/slow_clients.py check that slow clients do not block others.
"""

from __future__ import annotations

import re
import socket

import pytest

from admin.inputs import MAX_HEAD_BYTES

from .admin_process import API, OPERATOR, Served

pytestmark = pytest.mark.slow

POST_HEAD = (
    f"POST {API}/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATOR}\r\n"
    "Content-Type: application/json\r\n"
)
STYLE = b"GET /admin/static/admin.css HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    missing = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    response = served.send_raw(b"\r\n" + STYLE * 3 + b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + missing + STYLE)
    # Requests after `Connection: close` get no response.
    assert re.findall(rb"HTTP/1.1 (\d+)", response) == [b"200"] * 3 + [b"302", b"401"]


def test_a_client_that_expects_100_continue_gets_it(served: Served) -> None:
    with socket.create_connection(served.address, timeout=20) as client:
        length = b"Content-Length: 2\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(POST_HEAD.encode() + length)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(100_000).startswith(b"HTTP/1.1 200 OK")
    assert served.is_paused()


INCOMPLETE = [
    b'Content-Length: 47\r\n\r\n{"forMs": 1800000',
    b"Content-Length: 47\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
]
MALFORMED = [
    b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
    b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
]


def test_an_incomplete_request_changes_nothing(served: Served) -> None:
    for sent in (*INCOMPLETE, *MALFORMED):
        with socket.create_connection(served.address, timeout=20) as client:
            client.sendall(POST_HEAD.encode() + sent)
            client.shutdown(socket.SHUT_WR)
            response = b"".join(iter(lambda client=client: client.recv(65_536), b""))
        assert response.startswith(b"HTTP/1.1 400 ") if sent in MALFORMED else response == b"", sent
        assert not served.is_paused(), sent
        assert served.audit() == [], sent


def test_an_endless_head_is_refused(served: Served) -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-More: "
    # Not a byte more: if bytes still arrive when the server closes, the connection is reset and the response lost.
    response = served.send_raw(head + b"x" * (MAX_HEAD_BYTES - len(head)))
    assert response.partition(b"\r\n")[0].endswith(b" 431 Request Header Fields Too Large")
