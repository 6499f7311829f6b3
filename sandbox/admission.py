"""What comes before a route: the limiters, which refuse requests and charge every response, and downtimes."""

from __future__ import annotations

from flask import Response

from .exchange import Exchange
from .fault_kinds import TOKEN_PATH
from .responses import RequestError, as_json
from .state import SandboxState

DOWN_TEXT = "The datasource tranquility is temporarily unavailable"


def refuse(state: SandboxState, exchange: Exchange) -> Response | None:
    """Return the response of a limiter or a downtime that refuses a request, None if the route may answer it."""
    if exchange.service == "esi" and state.enforce_limits and (refusal := _over_limit(state, exchange)):
        return refusal
    outage = state.outages.now(exchange.service)
    if outage is None or exchange.path.startswith("/meta/"):
        return None
    exchange.origin, exchange.outage = "downtime", outage
    if exchange.service == "esi":
        return RequestError(503, DOWN_TEXT).response()
    # What SSO answers then is a proxy's page.
    return Response("<html><body><h1>503 Service Unavailable</h1></body></html>", status=503, mimetype="text/html")


def begin_refresh(state: SandboxState, exchange: Exchange) -> Response | None:
    """Count a refresh at the token endpoint until it ends, and let it take its time.

    Returns SSO's error under a load that it does not bear.
    """
    if exchange.path != TOKEN_PATH or exchange.is_code:
        return None
    exchange.load = state.refresh_load.begin(exchange.character_id)
    if state.refresh_load.is_too_much(exchange.load):
        exchange.origin = "sso-load"
        return as_json({"error": "server_error", "error_description": "An error has occurred."}, status=500)
    state.clock.wait_until(exchange.at_s + state.refresh_load.latency_s)
    return None


def end_refresh(state: SandboxState, exchange: Exchange) -> None:
    """Stop counting a refresh."""
    if exchange.load is not None:
        state.refresh_load.end(exchange.character_id)


def _over_limit(state: SandboxState, exchange: Exchange) -> Response | None:
    address, bucket = exchange.caller.address, exchange.bucket
    if state.error_limit.is_spent(address):
        exchange.origin = "error-limit"
        return RequestError(420, "Error limited", headers=state.error_limit.headers(address)).response()
    if bucket and (retry_after_s := state.buckets.retry_after_s(bucket)):
        exchange.origin = "bucket"
        return RequestError(429, "Rate limit exceeded", headers={"Retry-After": str(retry_after_s)}).response()
    return None


def charge(state: SandboxState, exchange: Exchange, response: Response) -> None:
    """Charge a response to the limiter of its route, and add that limiter's headers; the two have none in common."""
    status, address = response.status_code, exchange.caller.address
    if exchange.service != "esi" or status == 420:
        return
    if exchange.bucket:
        headers = state.buckets.settle(exchange.bucket, status)
        exchange.is_overdrawn = headers["X-Ratelimit-Used"] != "0" and state.buckets.is_overdrawn(exchange.bucket)
    else:
        if status >= 400:
            state.error_limit.count_error(address)
        headers = state.error_limit.headers(address)
    if exchange.fault is None or not exchange.fault.bare:
        response.headers.update(headers)
