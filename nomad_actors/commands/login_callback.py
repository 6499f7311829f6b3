"""Receives SSO's answer to a login: from the player's browser on the loopback address, or pasted on standard input.

Browsers send more than the callback: requests for an icon, connections without a request, callbacks of other logins.
Each connection has its own thread with a time limit, and none of these ends the wait.
"""

from __future__ import annotations

import hmac
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ..errors import NomadError

#: How long the browser waits for the outcome of the login at most: longer than SSO's timeouts.
_OUTCOME_SECONDS = 60.0
#: How long a finished login waits until the browser has its page.
_PAGE_SECONDS = 5.0
_PATH = "/callback"
_MAX_PASTED_BYTES = 20_000
_OTHER = "This is the answer to another login. Log in at the address that nomad login printed last."


class LoginFailed(NomadError):
    """Raised when SSO sent no login, or another one than was requested."""


@dataclass
class Callback:
    """SSO's answer to this login, and what the browser shows as its outcome."""

    fields: Mapping[str, str]
    #: Whether a browser waits for the outcome.
    in_browser: bool
    _ended: threading.Event = field(default_factory=threading.Event)
    _shown: threading.Event = field(default_factory=threading.Event)
    _outcome: tuple[HTTPStatus, str] = (HTTPStatus.GATEWAY_TIMEOUT, "The login took too long.")

    def end(self, status: HTTPStatus, text: str) -> None:
        """Show the outcome in the browser, if one waits for it."""
        self._outcome = status, text
        self._ended.set()
        if self.in_browser:
            self._shown.wait(_PAGE_SECONDS)

    def outcome(self) -> tuple[HTTPStatus, str]:
        """Wait for the outcome."""
        self._ended.wait(_OUTCOME_SECONDS)
        return self._outcome

    def was_shown(self) -> None:
        """Let `end` return."""
        self._shown.set()


class CallbackListener:
    """Waits for the callback with this `state`; the others are answered with an error page, and the wait goes on.

    Without `listens` only standard input is read. Raises `LoginFailed` if the port cannot be used.
    """

    def __init__(self, port: int, state: str, *, listens: bool = True) -> None:
        self.state = state
        self.received: queue.SimpleQueue[Callback] = queue.SimpleQueue()
        self._woken, self._wakes = os.pipe()
        self._server = _Server(port, self) if listens else None
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port if self._server else port}{_PATH}"
        self._pasted = b""

    def start(self) -> None:
        """Accept connections."""
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, args=(0.1,), name="login", daemon=True).start()

    def close(self) -> None:
        """Release the port. Must be called after `start`."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for descriptor in (self._woken, self._wakes):
            os.close(descriptor)

    def put(self, callback: Callback) -> None:
        """Hand a callback over to `wait`; called by the connections' threads."""
        self.received.put(callback)
        with suppress(OSError):
            os.write(self._wakes, b".")

    def wait(self, seconds: float) -> Callback:
        """Return the callback; raises `LoginFailed` if none came within `seconds`."""
        deadline, sources = time.monotonic() + seconds, [self._woken, *_standard_input()]
        if sources == [self._woken] and self._server is None:
            raise LoginFailed("standard input is closed, so no callback can be pasted")
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(sources, [], [], left)
            if self._woken in ready:
                return self.received.get()
            for descriptor in ready:
                pasted = os.read(descriptor, 4096)
                if not pasted:
                    sources.remove(descriptor)
                if (found := self._read_pasted(pasted)) is not None:
                    return found
                if not pasted and self._server is None:
                    raise LoginFailed("standard input ended before the callback was pasted")
        raise LoginFailed(f"SSO did not call back within {seconds:.0f} s")

    def _read_pasted(self, pasted: bytes) -> Callback | None:
        """Return the callback that a complete line, or the end of the input, contains."""
        *lines, rest = (self._pasted + pasted).split(b"\n")
        self._pasted = b"" if len(rest) > _MAX_PASTED_BYTES else rest
        for line in lines if pasted else [rest]:
            text = line.decode("utf-8", "replace").strip()
            if not text:
                continue
            fields = _fields(text) if "=" in text else {"code": text, "state": self.state}
            if self.is_own(fields):
                return Callback(fields, in_browser=False)
            sys.stderr.write(f"{_OTHER}\n")
        return None

    def is_own(self, fields: Mapping[str, str]) -> bool:
        """Return whether a callback answers this login."""
        return hmac.compare_digest(fields.get("state", "").encode(), self.state.encode())


def _standard_input() -> list[int]:
    """Return the descriptor of standard input, if there is one to wait for."""
    try:
        descriptor = sys.stdin.fileno()
        # A program in the background that reads from the terminal is stopped.
        if os.isatty(descriptor) and os.tcgetpgrp(descriptor) != os.getpgrp():
            return []
        select.select([descriptor], [], [], 0)
    except (AttributeError, OSError, ValueError):
        return []
    return [descriptor]


def _fields(address: str) -> dict[str, str]:
    """Return the fields of a callback's query; `address` may be its end only."""
    query = urlsplit(address).query or address
    return {name: values[0] for name, values in parse_qs(query).items()}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, listener: CallbackListener) -> None:
        self.listener = listener
        self._lock = threading.Lock()
        self._callback: Callback | None = None
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "allowed: 0 to 65535"
            raise LoginFailed(
                f"port {port} cannot be used for the callback ({reason}); choose another with --port, or paste the "
                "callback: --no-listen"
            ) from None

    def handed_over(self, fields: Mapping[str, str]) -> Callback:
        """Return this login's callback; a page that is loaded again gets the first one."""
        with self._lock:
            if self._callback is None:
                self._callback = Callback(fields, in_browser=True)
                self.listener.put(self._callback)
            return self._callback

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a browser may close a connection at any time."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    #: For a connection that sends nothing.
    timeout = 30.0

    def do_GET(self) -> None:
        if urlsplit(self.path).path != _PATH:
            self._respond(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        fields = _fields(self.path)
        if not self.server.listener.is_own(fields):
            self._respond(HTTPStatus.BAD_REQUEST, _OTHER)
            return
        callback = self.server.handed_over(fields)
        try:
            self._respond(*callback.outcome())
        finally:
            callback.was_shown()

    def _respond(self, status: HTTPStatus, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: the request line contains the code."""
