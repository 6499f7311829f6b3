"""`nomad login` and `nomad forget-key`: log a character in, and discard the logins that a lost key encrypted.

The login is an authorization code with PKCE, with a callback on the loopback address.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs, urlsplit

import typer

from .. import logs
from ..errors import BadInput, NomadError
from ..logs.counted import counted, verb_for
from ..processes.program import settings_or_exit
from .audited import audited
from .options import Json, Yes, confirm
from .report import print_line, print_result
from .session import opened

if TYPE_CHECKING:
    from ..app import App

#: How long the player has to log in.
WAIT_SECONDS = 300.0


class LoginFailed(NomadError):
    """Raised when SSO sent no login, or another one than was requested."""


def login(
    user_id: Annotated[int, typer.Option(help="The user that the character belongs to.")] = 1,
    port: Annotated[int, typer.Option(help="The port of the callback URL that is registered at CCP.")] = 8017,
) -> None:
    """Log a character in: print the address to open, wait for the login, and store it encrypted."""
    from ..app import create_app

    with settings_or_exit() as settings:
        logs.configure(settings.log_format, settings.log_level)
        if not settings.eve_client_id:
            raise typer.BadParameter(
                f"EVE_CLIENT_ID is not set: register an application at CCP with the callback "
                f"http://127.0.0.1:{port}/callback and the scopes that you want, then set its client id"
            )
        application = create_app(settings)
    with contextlib.closing(application):
        character = _log_in(application, user_id, port)
    print_line(f"{character} is logged in.")


def _log_in(app: App, user_id: int, port: int) -> str:
    """Wait for one login and save it; return the character's name."""
    # Before the player logs in, since an error afterwards would lose the login.
    app.store.logins.check_keys()
    verifier = secrets.token_urlsafe(48)
    state = secrets.token_urlsafe(24)
    callback = _Callback(port)
    redirect_uri = f"http://127.0.0.1:{callback.server_port}/callback"
    try:
        print_line("Open this address and log in:")
        print_line(_address(app, state, verifier, redirect_uri))
        callback.handle_request()
    finally:
        callback.server_close()
    if callback.fields.get("state") != state:
        why = "the callback belongs to another login" if callback.fields else "SSO did not call back in time"
        raise LoginFailed(why)
    if "code" not in callback.fields:
        raise LoginFailed(f"SSO refused the login: {callback.fields.get('error', 'its callback has no code')}")
    tokens = app.services.sso.exchange_code(callback.fields["code"], verifier, redirect_uri)
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


def _address(app: App, state: str, verifier: str, redirect_uri: str) -> str:
    from ..esi import ROUTES

    scopes = {scope for route in ROUTES.values() for scope in route.scopes}
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return app.services.sso.authorize_url(scopes, state, challenge, redirect_uri)


def forget_key(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The id of the key, from the error or from nomad doctor.")
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Discard the logins that a lost key encrypted. Their players must log in again; their collected data stays."""
    from ..store import Store, TokenCipher
    from ..store.login_keys import stored_logins_by_key

    with opened() as access:
        at_hand = TokenCipher.at_hand(access.settings)
        if at_hand is not None and key_id in at_hand.key_ids:
            raise BadInput(f"key {key_id} is not lost: it is in {at_hand.source}")
        with contextlib.closing(Store(access.settings.database_url, cipher=None, clock=access.clock)) as store:
            logins = stored_logins_by_key(store.database)
            if key_id not in logins:
                known = sorted(logins)
                allowed = ", ".join(known) or "none"
                raise BadInput(f"no login was encrypted with key {key_id!r} (allowed: {allowed})", accepted=known)
            discarded = f"{counted(logins[key_id], 'login')} of key {key_id}"
            confirm(f"Discard {discarded}? {_consequence(logins[key_id]).capitalize()}.", yes=yes)
            with audited(access.settings, "POST", "logins", "keys", key_id, "forget"):
                count = store.logins.forget_key(key_id)
    result = {"success": True, "keyId": key_id, "logins": count}
    print_result(result, f"{counted(count, 'login')} discarded: {_consequence(count)}", json=json)


def _consequence(logins: int) -> str:
    return f"{verb_for(logins, 'its player', 'their players')} must log in again"


class _Callback(HTTPServer):
    """Receives the one request with which SSO redirects the player's browser."""

    def __init__(self, port: int) -> None:
        #: The fields of the callback's query; empty if none came in time.
        self.fields: dict[str, str] = {}
        self.timeout = WAIT_SECONDS
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise LoginFailed(
                f"port {port} cannot be used for the callback ({error.strerror}); choose another with --port"
            ) from None


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
        """Log nothing: the request line contains the code."""
