"""What stands before a route: the limiters, which refuse requests and charge every response."""

from __future__ import annotations

from flask import Response

from .exchange import Exchange
from .responses import RequestError
from .state import SandboxState


def refuse(state: SandboxState, exchange: Exchange) -> Response | None:
    """Return the response of a limiter that refuses a request, None if the route may answer it."""
    if exchange.service != "esi" or not state.enforce_limits:
        return None
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
    else:
        if status >= 400:
            state.error_limit.count_error(address)
        headers = state.error_limit.headers(address)
    response.headers.update(headers)
