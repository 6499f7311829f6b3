"""Builds the sandbox's Flask app: every request passes the limiters, then the faults, then its route."""

from __future__ import annotations

import socket
import uuid

from flask import Flask, Request, Response, g, request

from . import admission, control, esi, injection, sso
from .access import authenticate
from .clock import SandboxClock
from .exchange import Exchange, current
from .limits import Bucket
from .routes import normal_path
from .state import LoggedRequest, SandboxState


def create_app(
    *, seed: int = 7, characters: int = 25, clock: SandboxClock | None = None, enforce_limits: bool = True
) -> Flask:
    """Return an app that is both ESI and SSO; its state is in `app.extensions["sandbox"]`."""
    state = SandboxState(seed=seed, characters=characters, clock=clock or SandboxClock(), enforce_limits=enforce_limits)
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
    if request.path.startswith(control.PREFIX):
        return None
    exchange = g.exchange = _exchange(state, request)
    refusal = admission.refuse(state, exchange)
    return refusal if refusal is not None else injection.before(state, exchange)


def _exchange(state: SandboxState, received: Request) -> Exchange:
    path, caller, now_s = normal_path(received.path), authenticate(state, received), state.clock.now()
    if path in sso.PATHS:
        return Exchange.of(received, service="sso", caller=caller, bucket=None, at_s=now_s)
    group = esi.rate_group(path)
    owner = caller.rate_limit_key(is_public=not path.startswith("/characters/"))
    bucket = Bucket(group, owner) if group else None
    return Exchange.of(received, service="esi", caller=caller, bucket=bucket, at_s=now_s)


def _finish(state: SandboxState, response: Response) -> Response:
    if request.path.startswith(control.PREFIX):
        return response
    exchange = current()
    response = injection.after(exchange, response)
    admission.charge(state, exchange, response)
    response.headers["X-ESI-Request-ID"] = str(uuid.uuid4())
    exchange.finish(response, state.clock.now())
    state.log.add(LoggedRequest.of(exchange))
    if exchange.fault is not None and exchange.fault.drop:
        _cut_connection()
    return response


def _cut_connection() -> None:
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)
