"""Logs a character in from the command line: authorization code with PKCE, answered on the loopback address."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from ..app import App
from ..errors import NomadError
from ..esi import ROUTES

#: Every scope that a route of ours needs.
ALL_SCOPES = frozenset(scope for route in ROUTES.values() for scope in route.scopes)
#: How long a player may take.
WAIT_SECONDS = 300.0


class LoginFailed(NomadError):
    """Raised when no login came back, or not the one that was asked for."""


def log_in(app: App, *, user_id: int, port: int, scopes: Iterable[str], say: Callable[[str], object]) -> str:
    """Wait for one login and save it; return the character's name.

    Raises `LoginFailed` when the player refused or took longer than five minutes, `KeyIsLost`, and what
    SSO's client raises.
    """
    # Before the player logs in: afterwards the login would be lost.
    app.store.logins.check_keys()
    verifier = secrets.token_urlsafe(48)
    state = secrets.token_urlsafe(24)
    callback = _Callback(port)
    redirect_uri = f"http://127.0.0.1:{callback.server_port}/callback"
    try:
        say("Open this address and log in:")
        say(_address(app, scopes, state, verifier, redirect_uri))
        answer = callback.wait()
    finally:
        callback.server_close()
    if answer.get("state") != state:
        raise LoginFailed("no answer came back from SSO" if not answer else "the answer is of another login")
    if "code" not in answer:
        raise LoginFailed(f"SSO did not log in: {answer.get('error', 'no code in its answer')}")
    tokens = app.services.sso.exchange_code(answer["code"], verifier, redirect_uri)
    app.store.logins.save(
        character_id=tokens.character_id,
        user_id=user_id,
        name=tokens.name,
        owner_hash=tokens.owner_hash,
        scopes=tokens.scopes,
        refresh_token=tokens.refresh_token,
        access_token=tokens.access_token,
        expires_at_ms=tokens.expires_at_ms,
    )
    return tokens.name


def _address(app: App, scopes: Iterable[str], state: str, verifier: str, redirect_uri: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return app.services.sso.authorize_url(scopes, state, challenge, redirect_uri)


class _Callback(HTTPServer):
    """Takes the one answer that SSO sends the player's browser with."""

    def __init__(self, port: int) -> None:
        self.answer: dict[str, str] = {}
        self.timeout = WAIT_SECONDS
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise LoginFailed(
                f"port {port} of the callback cannot be had ({error.strerror}); --port names one"
            ) from None

    def wait(self) -> dict[str, str]:
        """Return the answer's fields; empty when none came in time."""
        self.handle_request()
        return self.answer


class _Handler(BaseHTTPRequestHandler):
    server: _Callback

    def do_GET(self) -> None:
        """Keep the answer, and tell the player that the browser is done with."""
        parts = urlsplit(self.path)
        if parts.path != "/callback":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.server.answer = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = b"Logged in; this page can be closed.\n" if "code" in self.server.answer else b"No login was made.\n"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the request's line holds the code."""
