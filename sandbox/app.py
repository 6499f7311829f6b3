"""Builds the sandbox's Flask app: every request passes the limiters, then the faults, then its route."""

from __future__ import annotations

import socket
import uuid

from flask import Flask, Request, Response, g, request

from . import admission, control, esi, injection, sso
from .access import authenticate
from .clock import SandboxClock
from .conduct.observer import GRACE_S
from .exchange import Exchange, current
from .limits import Bucket
from .routes import PAGE_ROWS, normal_path, path_id, route_name
from .state import LoggedRequest, SandboxState


def create_app(
    *,
    seed: int = 7,
    characters: int = 25,
    clock: SandboxClock | None = None,
    enforce_limits: bool = True,
    grace_s: float = GRACE_S,
    page_rows: int = PAGE_ROWS,
) -> Flask:
    """Return an app that is both ESI and SSO; its state is in `app.extensions["sandbox"]`."""
    state = SandboxState(
        seed=seed,
        characters=characters,
        clock=clock or SandboxClock(),
        enforce_limits=enforce_limits,
        grace_s=grace_s,
        page_rows=page_rows,
    )
    app = Flask("sandbox")
    app.extensions["sandbox"] = state
    app.register_blueprint(sso.create_blueprint(state))
    app.register_blueprint(control.create_blueprint(state))
    app.register_blueprint(esi.create_blueprint(state))
    app.before_request(lambda: _begin(state))
    app.after_request(lambda response: _finish(state, response))
    return app


def _begin(state: SandboxState) -> Response | None:
    """Return a response that replaces the route's, or None."""
    state.script.run_due()
    if request.path.startswith(control.PREFIX):
        return None
    exchange = g.exchange = _exchange(state, request)
    steps = (admission.begin_refresh, admission.refuse, injection.before)
    return next((response for step in steps if (response := step(state, exchange)) is not None), None)


def _exchange(state: SandboxState, received: Request) -> Exchange:
    path, caller = normal_path(received.path), authenticate(state, received)
    is_sso = path in sso.PATHS
    group = None if is_sso else esi.rate_group(path)
    refresh_token = received.form.get("refresh_token", "") if is_sso else ""
    owner = caller.rate_limit_key(is_public=not path.startswith("/characters/"))
    return Exchange(
        service="sso" if is_sso else "esi",
        method=received.method,
        path=path,
        route=route_name(path),
        query=received.args.to_dict(),
        headers={name.lower(): value for name, value in received.headers.items()},
        caller=caller,
        bucket=Bucket(group, owner) if group else None,
        character_id=state.grants.character_of(refresh_token) if is_sso else path_id(path),
        refresh_token=refresh_token,
        was_rotated=state.grants.was_rotated(refresh_token),
        is_code=is_sso and received.form.get("grant_type") == "authorization_code",
        code=received.form.get("code", "") if is_sso else "",
        code_verifier=received.form.get("code_verifier", "") if is_sso else "",
        at_s=state.clock.now(),
    )


def _finish(state: SandboxState, response: Response) -> Response:
    if request.path.startswith(control.PREFIX):
        return response
    exchange = current()
    response = injection.after(exchange, response)
    admission.charge(state, exchange, response)
    response.headers["X-ESI-Request-ID"] = str(uuid.uuid4())
    exchange.finish(response, state.clock.now())
    admission.end_refresh(state, exchange)
    state.conduct.observe(exchange)
    state.ledger.add(exchange)
    state.log.add(LoggedRequest.of(exchange))
    if exchange.fault is not None and exchange.fault.drop:
        _cut_connection()
    return response


def _cut_connection() -> None:
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)
