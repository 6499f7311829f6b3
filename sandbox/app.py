"""Builds the sandbox's Flask app from its parts."""

from __future__ import annotations

import socket
import time
import uuid

from flask import Flask, Response, g, request

from . import control, esi, sso
from .answers import as_json
from .clock import SandboxClock
from .faults import Fault
from .parts import Heard, Parts
from .routes import normal_path


def create_app(
    *, seed: int = 7, characters: int = 25, clock: SandboxClock | None = None, enforce_limits: bool = True
) -> Flask:
    """Return an app that is an ESI and an SSO at once; its parts are in `app.extensions["sandbox"]`."""
    parts = Parts(seed=seed, characters=characters, clock=clock or SandboxClock(), enforce_limits=enforce_limits)
    app = Flask("sandbox")
    app.extensions["sandbox"] = parts
    app.register_blueprint(sso.create_blueprint(parts))
    app.register_blueprint(control.create_blueprint(parts))
    app.register_blueprint(esi.create_blueprint(parts))
    # Flask runs what is registered first last: every answer passes the log, a fault's too.
    app.after_request(lambda response: _finish(parts, response))
    _add_faults(app, parts)
    return app


def _add_faults(app: Flask, parts: Parts) -> None:
    @app.before_request
    def before() -> Response | None:
        g.renew = False
        path = normal_path(request.path)
        if request.path.startswith(control.PREFIX):
            return None
        fault = g.fault = parts.faults.take(request.method, path, request.args)
        if fault is None:
            return None
        time.sleep(fault.delay_ms / 1000)
        g.renew = fault.renew
        failed = None if fault.after else _failed(fault)
        return failed if failed is None or path in sso.PATHS else esi.charge(parts, failed)

    @app.after_request
    def after(response: Response) -> Response:
        fault: Fault | None = g.get("fault")
        if fault is not None and fault.after:
            return _failed(fault) or response
        return response


def _failed(fault: Fault) -> Response | None:
    """Return the answer that a fault gives instead of the route's; cut the connection when it says so."""
    if fault.drop:
        connection: socket.socket | None = request.environ.get("werkzeug.socket")
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
        return Response(status=fault.status or 500)
    if fault.status is None:
        return None
    body = fault.answer_body
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return Response(body, status=fault.status, mimetype=kind, headers=fault.headers)
    return as_json(body, status=fault.status, headers=fault.headers)


def _finish(parts: Parts, response: Response) -> Response:
    if request.path.startswith(control.PREFIX):
        return response
    response.headers["X-ESI-Request-ID"] = str(uuid.uuid4())
    parts.log.add(
        Heard(
            method=request.method,
            path=normal_path(request.path),
            query=request.args.to_dict(),
            status=response.status_code,
            user_agent=request.headers.get("User-Agent", ""),
            at_ms=int(parts.clock.now() * 1000),
        )
    )
    return response
