"""The clients against the sandbox's ESI and SSO, and against a server with scripted responses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import requests

from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiClient, Route, SsoClient, Tokens, http_session
from nomad_actors.esi.limits import Limiter
from nomad_actors.store import Store, TokenCipher
from nomad_actors.store.listing_pages import HeldListing
from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer
from tests.support.databases import put_database

#: 2026-11-01T12:00:00Z
NOW_S = 1_793_534_400
USER_AGENT = "nomad-tests/1 (tests@example.com)"


@dataclass(frozen=True)
class Reply:
    """One response of the scripted server; a `body` of bytes is sent unchanged, anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Cut the connection instead.
    cut: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class ReceivedRequest:
    """One request that the scripted server received."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]


class Scripted:
    """A loopback server that sends the responses of `script`, in order for each path.

    The last response of a path is repeated; a callable returns the response to each request.
    """

    def __init__(self) -> None:
        self.script: dict[str, list[Reply] | Callable[[ReceivedRequest], Reply]] = {}
        self.received: list[ReceivedRequest] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def reply_with(self, path: str, *responses: Reply) -> None:
        self.script[path] = list(responses)

    def response(self, received: ReceivedRequest) -> Reply:
        self.received.append(received)
        responses = self.script.get(received.path, [Reply(404, {"error": "not in the script"})])
        if callable(responses):
            return responses(received)
        return responses.pop(0) if len(responses) > 1 else responses[0]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(scripted: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def _respond(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            response = scripted.response(
                ReceivedRequest(parts.path, _flat(parts.query), dict(self.headers), _flat(body))
            )
            if response.cut:
                self.close_connection = True
                return
            # Without the headers that the library adds: the script decides.
            self.send_response_only(response.status)
            content = b"" if response.status == 304 else response.content
            for name, value in {"Content-Length": str(len(content)), "Connection": "close", **response.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server whose responses a test defines."""
    server = Scripted()
    yield server
    server.stop()


@pytest.fixture
def clock() -> ManualClock:
    """Our clock, synchronised with the sandbox's."""
    return ManualClock(NOW_S * 1000)


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """The HTTP session of SSO's client."""
    with http_session(USER_AGENT) as session:
        yield session


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """An ESI and an SSO with a few characters and a frozen clock that tests advance."""
    with SandboxServer(characters=3, clock=SandboxClock(frozen_at_s=NOW_S)) as server:
        yield server


@pytest.fixture
def advance(clock: ManualClock, sandbox: SandboxServer) -> Callable[[float], None]:
    """`advance(seconds)`: advance both our clock and the sandbox's."""

    def advance_both(seconds: float) -> None:
        clock.advance(seconds=seconds)
        sandbox.advance(seconds)

    return advance_both


@pytest.fixture
def decoding_redis(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the test run's Redis that returns text, as the limiter needs it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def limiter(decoding_redis: redis.Redis, clock: ManualClock) -> Limiter:
    """The limits of this test's application."""
    return Limiter(decoding_redis, clock=clock, application="sandbox-client")


@pytest.fixture
def sso(http: requests.Session, sandbox: SandboxServer, clock: ManualClock, limiter: Limiter) -> SsoClient:
    """A client of the sandbox's SSO."""
    return SsoClient(
        http,
        base_url=sandbox.base_url,
        client_id="sandbox-client",
        client_secret="sandbox-secret",
        clock=clock,
        limiter=limiter,
    )


@pytest.fixture
def esi(sandbox: SandboxServer, clock: ManualClock, limiter: Limiter) -> EsiClient:
    """A client of the sandbox's ESI."""
    return EsiClient(base_url=sandbox.base_url, user_agent=USER_AGENT, clock=clock, limiter=limiter)


@pytest.fixture
def scripted_esi(scripted: Scripted, clock: ManualClock, limiter: Limiter) -> EsiClient:
    """A client of the scripted server."""
    return EsiClient(base_url=scripted.base_url, user_agent=USER_AGENT, clock=clock, limiter=limiter)


@pytest.fixture
def tokens(sso: SsoClient, sandbox: SandboxServer) -> Tokens:
    """The tokens of a sandbox character with all scopes."""
    return sso.refresh(sandbox.logins()[0]["refresh_token"])


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    """A store on a SQLite file, for what is held of listings."""
    store = Store(put_database(tmp_path / "nomad.db"), cipher=TokenCipher(["a key for tests"]), clock=clock)
    yield store
    store.close()


@pytest.fixture
def held(store: Store) -> Callable[[int, Route], HeldListing]:
    """`held(character_id, route)`: what is held of a listing, as the next step finds it."""

    def get(character_id: int, route: Route) -> HeldListing:
        if store.logins.character(character_id) is None:
            store.logins.save(
                character_id=character_id, user_id=1, name="n", owner_hash="o", scopes=[], refresh_token="t"
            )
        return store.listing_pages.of(character_id, route.name, may_be_held=True)

    return get
