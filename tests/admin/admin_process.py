"""An admin in its own process, with configured tokens."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from nomad_actors.settings.admin_tokens import token_entry

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
    """An admin in its own process; `log_file` has its log after it has ended."""

    url: str
    log_file: Path
    #: The ids of requests that must be in its log.
    expected_request_ids: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        address = urlsplit(self.url)
        return address.hostname or "", address.port or 0

    def request(self, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return requests.request(method, self.url + path, headers=headers, timeout=20, allow_redirects=False, **more)

    def send_raw(self, request: bytes) -> bytes:
        """Send bytes unchanged and return everything that the server sends."""
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(request)
            response = b""
            while chunk := connection.recv(65_536):
                response += chunk
        return response

    def log_in(self, token: str) -> requests.Session:
        session = requests.Session()
        page = session.get(f"{self.url}/admin/login", timeout=20).text
        body = {"token": token, "form_token": form_token(page)}
        response = session.post(f"{self.url}/admin/login", data=body, timeout=20, allow_redirects=False)
        assert response.headers["Location"] == "/admin/"
        return session

    def audit(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.request("GET", "/admin/jobs/audit?limit=1000", VIEWER).json()["entries"]
        return entries

    def is_paused(self) -> bool:
        return bool(self.request("GET", API, VIEWER).json()["isPaused"])


def form_token(page: str) -> str:
    match = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert match, page
    return match[1]


@contextmanager
def running_admin(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None], tokens: list[str], **more: str
) -> Iterator[Served]:
    """Run an admin with these tokens."""
    ready, log_file = tmp_path / f"ready-{len(tokens)}", tmp_path / "log"
    process = start(tmp_path, redis_url, "--ready-file", str(ready), NOMAD_ADMIN_TOKENS=",".join(tokens), **more)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        yield Served(ready.read_text().strip(), log_file)
    finally:
        process.terminate()
        _, lines = process.communicate(timeout=20)
        log_file.write_text(lines)


@contextmanager
def checked_admin(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Served]:
    """Run an admin with a viewer and two operators; its log must have the expected requests and no token."""
    with running_admin(tmp_path, redis_url, wait_until, ENTRIES) as running:
        yield running
    lines = (tmp_path / "log").read_text().splitlines()
    assert not any(token in line for line in lines for token in (VIEWER, OPERATOR, LEAVER))
    logged = {match[1] for line in lines if (match := re.search(r"event=(?:refused|change) .*request_id=(\S+)", line))}
    assert set(running.expected_request_ids) <= logged
