"""Serves the sandbox over HTTP on the loopback address, in a thread."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from .app import create_app
from .clock import SandboxClock
from .conduct.observer import GRACE_S
from .control import list_logins
from .faults import Fault
from .grants import CLIENT_SECRET
from .ledger import LedgerEntry
from .routes import PAGE_ROWS
from .state import LoggedRequest, SandboxState

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
STOP_POLL_S = 0.02
BACKLOG = 128


class SandboxServer:
    """An ESI and SSO on a free loopback port, running during its `with` block.

    It has the first `characters` of `seed`; `clock` controls its time; without `enforce_limits` it counts requests but
    never rejects them. `grace_s`, in the host's seconds, is how long a fleet may take until all its processes know what
    one of them has read; the conduct record blames nothing before. A page has at most `page_rows` rows.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        characters: int = 5,
        clock: SandboxClock | None = None,
        enforce_limits: bool = True,
        grace_s: float = GRACE_S,
        page_rows: int = PAGE_ROWS,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        self.clock = clock or SandboxClock()
        app = create_app(
            seed=seed,
            characters=characters,
            clock=self.clock,
            enforce_limits=enforce_limits,
            grace_s=grace_s,
            page_rows=page_rows,
        )
        self.parts: SandboxState = app.extensions["sandbox"]
        self._host = host
        self._server = _Server(host, port, app, self.clock)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_S,), name="sandbox", daemon=True
        )

    @property
    def base_url(self) -> str:
        """The URL of both ESI and SSO, without a trailing slash."""
        host = {"0.0.0.0": HOST, "::": "::1"}.get(self._host, self._host)
        return f"http://[{host}]:{self._server.port}" if ":" in host else f"http://{host}:{self._server.port}"

    def start(self) -> Self:
        """Start serving; earlier connections wait until then."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and release the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def logins(self) -> list[dict[str, Any]]:
        """Return the data of `GET /sandbox/logins`: each character with its currently valid refresh token."""
        return list_logins(self.parts)

    def fail(self, path: str, status: int | None = None, **more: Any) -> None:
        """Make the next responses of a path fail; `more` are fields of `sandbox.faults.Fault`.

        Raises `sandbox.faults.BadFault` for invalid fields.
        """
        self.parts.faults.add(Fault.from_json({"path": path, "status": status, **more}))

    def script(self, *steps: dict[str, Any]) -> None:
        """Add steps whose times count from now, as `POST /sandbox/script` does.

        Raises `sandbox.script.BadStep`.
        """
        self.parts.script.add(list(steps))

    def requests(self, path: str | None = None) -> list[LoggedRequest]:
        """Return the logged requests, oldest first: all, or those of one path in normal form."""
        return [heard for heard in self.parts.log.all() if path in (None, heard.path)]

    def ledger(self) -> list[LedgerEntry]:
        """Return the last 50,000 requests to SSO that carried secrets, oldest first."""
        return self.parts.ledger.all()

    def secrets(self) -> set[str]:
        """Return every token, code and verifier that SSO has issued or been sent, and the client secret."""
        issued = {secret for entry in self.ledger() for secret in entry.secrets}
        return {CLIENT_SECRET, *self.parts.grants.refresh_tokens(), *issued}

    def conduct(self) -> dict[str, Any]:
        """Return the conduct record, as `GET /sandbox/conduct` does."""
        return self.parts.conduct.record()

    def counters(self) -> dict[str, Any]:
        """Return the counters, as `GET /sandbox/counters` does."""
        return self.parts.conduct.counters()

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward."""
        self.clock.advance(seconds)


class _QuietHandler(WSGIRequestHandler):
    """Logs no requests, and uses the sandbox's clock for the `Date` header."""

    disable_nagle_algorithm = True
    server: _Server

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing: the sandbox has its own request log."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.clock.now() if timestamp is None else timestamp)

    def version_string(self) -> str:
        return "nomad-sandbox"


class _Server(ThreadedWSGIServer):
    def __init__(self, host: str, port: int, app: WSGIApplication, clock: SandboxClock) -> None:
        self.clock = clock
        # Opened here, because werkzeug would print an error of its own and end the program.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=BACKLOG) as listening:
            super().__init__(host, port, app, _QuietHandler, fd=listening.fileno())
