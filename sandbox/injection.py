"""Applies a fault to the request that it selects: before the route runs, or to the route's response."""

from __future__ import annotations

import time

from flask import Response

from .alterations import alter
from .exchange import Exchange
from .faults import Fault
from .responses import as_json
from .state import SandboxState


def before(state: SandboxState, exchange: Exchange) -> Response | None:
    """Take the fault of this request, if any; return its response if the route shall not run."""
    fault = state.faults.take(exchange.method, exchange.path, exchange.query, exchange.character_id)
    exchange.fault = fault
    if fault is None:
        return None
    time.sleep(fault.delay_ms / 1000)
    state.clock.wait_until(exchange.at_s + fault.hang_s)
    if fault.after:
        return None
    return _replace(exchange, fault)


def after(exchange: Exchange, response: Response) -> Response:
    """Return the response to send: the route's, or what the fault makes of it once the route has run."""
    fault = exchange.fault
    if fault is None or exchange.origin == "fault":
        return response
    if fault.after:
        return _replace(exchange, fault) or response
    if fault.alter is not None:
        exchange.origin = "fault"
        return alter(fault.alter, response)
    return response


def _replace(exchange: Exchange, fault: Fault) -> Response | None:
    """Return the fault's response, or None to use the route's."""
    if fault.status is None and not fault.drop:
        return None
    exchange.origin = "fault"
    status = fault.status or 500
    body = fault.response_body
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return Response(body, status=status, mimetype=kind, headers=fault.headers)
    return as_json(body, status=status, headers=fault.headers)
