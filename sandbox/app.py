"""Builds the sandbox's Flask app."""

from __future__ import annotations

import socket
import time
import uuid

from flask import Flask, Response, g, request

from . import control, esi, sso
from .clock import SandboxClock
from .faults import FailureGroup
from .responses import as_json
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
    # Flask runs these in reverse order, so this one is last and logs every response, including those of faults.
    app.after_request(lambda response: _finish(state, response))
    _add_faults(app, state)
    return app


def _add_faults(app: Flask, state: SandboxState) -> None:
    @app.before_request
    def before() -> Response | None:
        g.renew = False
        path = normal_path(request.path)
        if request.path.startswith(control.PREFIX):
            return None
        fault = g.fault = state.faults.take(request.method, path, request.args)
        if fault is None:
            return None
        time.sleep(fault.delay_ms / 1000)
        g.renew = fault.renew
        failed = None if fault.after else _failed(fault)
        return failed if failed is None or path in sso.PATHS else esi.charge(state, failed)

    @app.after_request
    def after(response: Response) -> Response:
        fault: FailureGroup | None = g.get("fault")
        if fault is not None and fault.after:
            return _failed(fault) or response
        return response


def _failed(fault: FailureGroup) -> Response | None:
    """Return the fault's response, or None to use the route's; cut the connection if the fault says so."""
    if fault.drop:
        connection: socket.socket | None = request.environ.get("werkzeug.socket")
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
        return Response(status=fault.status or 500)
    if fault.status is None:
        return None
    body = fault.response_body
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return Response(body, status=fault.status, mimetype=kind, headers=fault.headers)
    return as_json(body, status=fault.status, headers=fault.headers)


def _finish(state: SandboxState, response: Response) -> Response:
    if request.path.startswith(control.PREFIX):
        return response
    response.headers["X-ESI-Request-ID"] = str(uuid.uuid4())
    state.log.add(
        LoggedRequest(
            method=request.method,
            path=normal_path(request.path),
            query=request.args.to_dict(),
            status=response.status_code,
            user_agent=request.headers.get("User-Agent", ""),
            at_ms=int(state.clock.now() * 1000),
        )
    )
    return response
