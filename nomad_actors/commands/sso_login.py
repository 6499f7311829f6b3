"""Logs a character in from the command line: authorization code with PKCE, callback on the loopback address."""

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

#: Every scope that one of our routes needs.
ALL_SCOPES = frozenset(scope for route in ROUTES.values() for scope in route.scopes)
#: How long the player has to log in.
WAIT_SECONDS = 300.0


class LoginFailed(NomadError):
    """Raised when SSO sent no login, or another one than was requested."""


def log_in(app: App, *, user_id: int, port: int, scopes: Iterable[str], show: Callable[[str], object]) -> str:
    """Wait for one login and save it; return the character's name.

    Raises `LoginFailed` if the player refuses or takes longer than five minutes, `KeyIsLost`, and the errors of the
    SSO client.
    """
    # Before the player logs in, since an error afterwards would lose the login.
    app.store.logins.check_keys()
    verifier = secrets.token_urlsafe(48)
    state = secrets.token_urlsafe(24)
    callback = _Callback(port)
    redirect_uri = f"http://127.0.0.1:{callback.server_port}/callback"
    try:
        show("Open this address and log in:")
        show(_address(app, scopes, state, verifier, redirect_uri))
        callback_fields = callback.wait()
    finally:
        callback.server_close()
    if callback_fields.get("state") != state:
        why = "the callback belongs to another login" if callback_fields else "SSO did not call back in time"
        raise LoginFailed(why)
    if "code" not in callback_fields:
        raise LoginFailed(f"SSO refused the login: {callback_fields.get('error', 'its callback has no code')}")
    tokens = app.services.sso.exchange_code(callback_fields["code"], verifier, redirect_uri)
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
    """Receives the one request with which SSO redirects the player's browser."""

    def __init__(self, port: int) -> None:
        self.fields: dict[str, str] = {}
        self.timeout = WAIT_SECONDS
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise LoginFailed(
                f"port {port} cannot be used for the callback ({error.strerror}); choose another with --port"
            ) from None

    def wait(self) -> dict[str, str]:
        """Return the fields of the callback's query; empty if none came in time."""
        self.handle_request()
        return self.fields


class _Handler(BaseHTTPRequestHandler):
    server: _Callback

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path != "/callback":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.server.fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = b"Logged in. You can close this page.\n" if "code" in self.server.fields else b"You are not logged in.\n"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        # Log nothing: the request line contains the code.
        pass
