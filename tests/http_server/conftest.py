"""A server with a small application, in a thread of the test's process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from nomad_actors.http_server import HttpServer, Limits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LIMITS = Limits(
    threads=2,
    connections=20,
    files_share=0.5,
    request_seconds=20,
    head_bytes=8_192,
    body_bytes=100_000,
    held_bytes=1_000_000,
)


@dataclass
class Application:
    """Records each request, and responds once `gate` is open."""

    seen: list[tuple[str, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    #: Parts of a streamed response, and how many are being sent.
    chunks: int = 1
    streaming: int = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/exit":
            raise SystemExit
        if environ["PATH_INFO"] == "/wait":
            self.gate.wait(20)
        if environ["PATH_INFO"] == "/stream":
            start_response("200 OK", [])
            return self._stream()
        body = b"x" * 6_000_000 if environ["PATH_INFO"] == "/large" else b"ok"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def _stream(self) -> Iterator[bytes]:
        self.streaming += 1
        try:
            for _ in range(self.chunks):
                yield b"x" * 65_536
        finally:
            self.streaming -= 1


@dataclass
class Running:
    """The server, its application and its address."""

    server: HttpServer
    application: Application
    address: tuple[str, int]
    thread: threading.Thread

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def exchange(self, request: bytes) -> bytes:
        """Send a request and return everything received until the server closes the connection."""
        with self.connect() as client:
            # The server may close the connection meanwhile: then it has sent everything.
            with contextlib.suppress(ConnectionError):
                client.sendall(request)
            return read_to_end(client)

    def is_well(self) -> bool:
        return self.exchange(b"GET /well HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").startswith(
            b"HTTP/1.1 200"
        )


def read_to_end(client: socket.socket) -> bytes:
    response = b""
    try:
        while chunk := client.recv(65_536):
            response += chunk
    except ConnectionError:
        # The server closed a connection while data was still arriving.
        pass
    return response


Serve = Callable[..., Any]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve the application with these limits until the test ends."""
    started: list[Running] = []

    def start(limits: Limits = LIMITS) -> Running:
        application = Application()
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        server = HttpServer(application, listener, limits, name="test")
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        started.append(Running(server, application, address, thread))
        return started[-1]

    yield start
    for running in started:
        running.application.gate.set()
        running.server.stop(5)
        running.thread.join(10)
        assert not running.thread.is_alive()


@contextmanager
def connections(
    running: Running, count: int, first: bytes, receive_buffer_bytes: int | None = None
) -> Iterator[list[socket.socket]]:
    """Open this many clients that have sent these bytes."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            clients.append(socket.socket())
            if receive_buffer_bytes:
                clients[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            clients[-1].settimeout(10)
            clients[-1].connect(running.address)
            # It may already be closed, to make room for others.
            with contextlib.suppress(ConnectionError):
                clients[-1].sendall(first)
        yield clients
    finally:
        for client in clients:
            client.close()
