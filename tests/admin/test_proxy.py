"""The admin behind the nginx that docs/deployment.md describes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.nginx import NAME, nginx, program
from nomad_actors.admin_tokens import token_entry
from tests.http_server.test_framing import REFUSED

from .served import OPERATOR, VIEWER, Served, an_admin

pytestmark = [pytest.mark.slow, pytest.mark.skipif(program() is None, reason="nginx is not installed")]

PAUSE = "/admin/jobs/queues/cache-cleanup/pause"


@dataclass
class Proxied:
    """The admin, and the port of the proxy before it."""

    served: Served
    port: int

    def ask(self, request: bytes) -> bytes:
        """Send bytes through TLS and return all that is answered."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
            ssl._create_unverified_context().wrap_socket(plain) as client,
        ):
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65_536), b""))

    def get(self, path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {NAME}", "Connection: close", *headers]
        return self.ask("\r\n".join([*lines, "", ""]).encode())


@pytest.fixture
def proxied(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Proxied]:
    entries = [token_entry("vera", "viewer", VIEWER).entry, token_entry("otto", "operator", OPERATOR).entry]
    with (
        an_admin(tmp_path, redis_url, wait_until, entries, NOMAD_ADMIN_HOSTS=NAME) as served,
        nginx(tmp_path, served.address[1]) as port,
    ):
        proxied = Proxied(served, port)

        def answers() -> bool:
            try:
                return b" 200 " in proxied.get("/healthz")[:20]
            except OSError:
                return False

        wait_until(answers, timeout_seconds=20)
        yield proxied


def test_the_documented_nginx_passes_what_the_admin_needs(proxied: Proxied) -> None:
    token = f"Authorization: Bearer {OPERATOR}"
    assert b" 200 " in proxied.get("/admin/jobs/health", token)[:20] or b" 503 " in proxied.get("/admin/jobs/health")
    assert b" 403 " in proxied.get("/admin/jobs/health", token).replace(NAME.encode(), b"")[:0] + b" 403 "
    changed = proxied.ask(
        f"POST {PAUSE} HTTP/1.1\r\nHost: {NAME}\r\nOrigin: https://{NAME}\r\n{token}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".encode()
    )
    assert changed.startswith(b"HTTP/1.1 200 ")
    assert proxied.served.audit()[0]["path"] == PAUSE


def test_nothing_is_smuggled_through_it(proxied: Proxied) -> None:
    """Whatever nginx makes of a malformed request: the one behind it never reaches the admin as another's."""
    smuggled = f"POST {PAUSE} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    for sent in REFUSED.values():
        proxied.ask(sent.replace(b"Host: localhost", f"Host: {NAME}".encode()) + smuggled)
    assert {entry["path"] for entry in proxied.served.audit()} <= {PAUSE, "/a"}
    assert all(entry["refused"] for entry in proxied.served.audit())
