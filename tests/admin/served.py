"""An admin in a process of its own, with tokens, and who may do what with them."""

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


@contextmanager
def an_admin(
    tmp_path: Path, redis_url: str, wait_until: Callable[..., None], tokens: list[str], **more: str
) -> Iterator[Served]:
    """Serve an admin that knows these tokens; what it said is in its file when it has ended."""
    ready, said = tmp_path / f"ready-{len(tokens)}", tmp_path / "said"
    process = start(tmp_path, redis_url, "--ready-file", str(ready), NOMAD_ADMIN_TOKENS=",".join(tokens), **more)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, timeout_seconds=30)
        yield Served(ready.read_text().strip(), said)
    finally:
        process.terminate()
        _, lines = process.communicate(timeout=20)
        said.write_text(lines)


@contextmanager
def a_watched_admin(tmp_path: Path, redis_url: str, wait_until: Callable[..., None]) -> Iterator[Served]:
    """Serve an admin with a viewer and two operators; whatever is tried, its log has every attack and no token."""
    with an_admin(tmp_path, redis_url, wait_until, ENTRIES) as running:
        yield running
    lines = (tmp_path / "said").read_text().splitlines()
    assert not any(token in line for line in lines for token in (VIEWER, OPERATOR, LEAVER))
    told = {found[1] for line in lines if (found := re.search(r"event=(?:refused|change) .*request_id=(\S+)", line))}
    assert set(running.told) <= told
