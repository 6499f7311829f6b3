"""`nomad login` and `nomad forget-key`: log a character in, and discard the logins that a lost key encrypted.

The login is an authorization code with PKCE, with a callback on the loopback address.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import typer

from .. import logs
from ..errors import BadInput, NomadError
from ..logs.counted import counted, verb_for
from ..processes.program import settings_or_exit
from .audited import audited
from .login_callback import Callback, CallbackListener, LoginFailed
from .options import Json, Yes, confirm
from .report import print_line, print_result
from .session import opened

if TYPE_CHECKING:
    from ..app import App
    from ..store import Handover, NewLogin

#: How long the player has to log in.
WAIT_SECONDS = 300.0


def login(
    user_id: Annotated[int, typer.Option(help="The user that the character belongs to.")] = 1,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the callback URL that is registered at CCP.")
    ] = 8017,
    listen: Annotated[
        bool, typer.Option("--listen/--no-listen", help="Wait for the browser, or only for a pasted callback.")
    ] = True,
) -> None:
    """Log a character in: print the address to open, wait for the login, and store it encrypted.

    If the browser is on another machine, paste the address that it ends at, or the code in it.
    """
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
        print_line(_log_in(application, user_id, port, listens=listen))


def _log_in(app: App, user_id: int, port: int, *, listens: bool) -> str:
    """Wait for one login and save it; return what was done."""
    # Before the player logs in, since an error afterwards would lose the login.
    app.store.logins.check_keys()
    verifier = secrets.token_urlsafe(48)
    listener = CallbackListener(port, secrets.token_urlsafe(24), listens=listens)
    listener.start()
    try:
        print_line("Open this address and log in:")
        print_line(_address(app, listener.state, verifier, listener.redirect_uri))
        print_line("If the browser then cannot open its page, paste the page's address here.")
        callback = listener.wait(WAIT_SECONDS)
        try:
            text = _save(app, user_id, callback, verifier, listener.redirect_uri)
        except BaseException as error:
            reason = str(error) if isinstance(error, NomadError) else "see the output of nomad login"
            callback.end(HTTPStatus.BAD_GATEWAY, f"You are not logged in: {logs.redact(reason)}")
            raise
        callback.end(HTTPStatus.OK, f"{text} You can close this page.")
    finally:
        listener.close()
    return text


def _save(app: App, user_id: int, callback: Callback, verifier: str, redirect_uri: str) -> str:
    from ..characters.saving import save_logins
    from ..store import NewLogin

    if "code" not in callback.fields:
        raise LoginFailed(f"SSO refused the login: {callback.fields.get('error', 'its callback has no code')[:100]}")
    tokens = app.services.sso.exchange_code(callback.fields["code"], verifier, redirect_uri)
    new = NewLogin(
        character_id=tokens.character_id,
        user_id=user_id,
        name=tokens.name,
        owner_hash=tokens.owner_hash,
        scopes=tokens.scopes,
        refresh_token=tokens.refresh_token,
        access_token=tokens.access_token,
        expires_at_ms=tokens.expires_at_ms,
    )
    path = ("characters", str(tokens.character_id), "login")
    with audited(app.settings, "POST", *path, body={"userId": user_id}):
        (handover,) = save_logins(app.store, app.services.cache, app.services.limiter, [new])
    return _done(new, handover)


def _done(new: NewLogin, handover: Handover) -> str:
    text = f"{new.name} (character {new.character_id}) is logged in for user {new.user_id}."
    if handover.archive_id is not None:
        text += f" The character has a new owner: what was kept for the old one is now archive {handover.archive_id}."
    if handover.is_restored:
        text += " What was kept for this owner before is back."
    return text


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
