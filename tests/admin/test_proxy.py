"""The admin behind the nginx of docs/deployment.md."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.nginx import NAME, nginx, program
from nomad_actors.settings.admin_tokens import token_entry

from .admin_process import OPERATOR, VIEWER, Served, running_admin

pytestmark = [pytest.mark.slow, pytest.mark.skipif(program() is None, reason="nginx is not installed")]

PAUSE = "/admin/jobs/queues/cache-cleanup/pause"


@dataclass
class Proxied:
    """An admin, and the port of the proxy in front of it."""

    served: Served
    port: int

    def send(self, request: bytes, seconds: float = 20) -> bytes:
        """Send bytes over TLS; return the response, or the part received when no byte came for `seconds`."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
            ssl._create_unverified_context().wrap_socket(plain) as client,
        ):
            client.settimeout(seconds)
            client.sendall(request)
            response = b""
            with contextlib.suppress(OSError):
                while part := client.recv(65_536):
                    response += part
            return response

    def get(self, path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {NAME}", "Connection: close", *headers]
        return self.send("\r\n".join([*lines, "", ""]).encode())


@pytest.fixture
def proxied(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Proxied]:
    entries = [token_entry("vera", "viewer", VIEWER).entry, token_entry("otto", "operator", OPERATOR).entry]
    with (
        running_admin(tmp_path, redis_url, wait_until, entries, NOMAD_ADMIN_HOSTS=NAME) as served,
        nginx(tmp_path, served.address[1]) as port,
    ):
        proxied = Proxied(served, port)

        def responses() -> bool:
            try:
                return b" 200 " in proxied.get("/healthz")[:20]
            except OSError:
                return False

        wait_until(responses, timeout_seconds=20)
        yield proxied


def test_the_documented_nginx_forwards_what_the_admin_needs(proxied: Proxied) -> None:
    token = f"Authorization: Bearer {OPERATOR}"
    # nginx must forward the Host, or the admin refuses the request.
    assert b" 200 " in proxied.get("/admin/jobs/queues", token)[:20]
    changed = proxied.send(
        f"POST {PAUSE} HTTP/1.1\r\nHost: {NAME}\r\nOrigin: https://{NAME}\r\n{token}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".encode()
    )
    assert changed.startswith(b"HTTP/1.1 200 ")
    assert proxied.served.audit()[0]["path"] == PAUSE


def test_no_request_is_smuggled_through_nginx(proxied: Proxied) -> None:
    # Whatever nginx does with a malformed request, its bytes never become another request to the admin.
    smuggled = f"POST {PAUSE} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\n\r\n".encode()
    inside = [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % len(smuggled),
        b"Transfer-Encoding: chunked\r\n\r\n2;a\n\r\n{}\r\n0\r\n",
        b"Transfer-Encoding:\x0bchunked\r\nContent-Length: %d\r\n\r\n" % len(smuggled),
        b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(smuggled),
        b"Content-Length: %d\r\nX: \n\r\n\r\n" % len(smuggled),
        b"Content_Length: %d\r\nContent-Length: %d\r\n\r\n" % (0, len(smuggled)),
        b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(smuggled),
    ]
    head = f"POST /admin/jobs/nowhere HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n".encode()
    for sent in inside:
        proxied.send(head + sent + smuggled, seconds=2)
    assert {entry["path"] for entry in proxied.served.audit()} <= {"/admin/jobs/nowhere"}
