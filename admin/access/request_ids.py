"""An id for each request: in its response, in each of its log lines, and in the audit log."""

from __future__ import annotations

import re
import uuid
from typing import cast

import structlog
from flask import Response, g, request

from nomad_actors.clock import mono_ms

HEADER = "X-Request-Id"
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def begin() -> None:
    """Take the caller's id if it is valid, else create one, and add it to all log lines of this request."""
    header = request.headers.get(HEADER, "")
    g.request_id = header if _VALID.fullmatch(header) else uuid.uuid4().hex
    g.begun_mono_ms = mono_ms()
    g.bound_before = structlog.contextvars.bind_contextvars(request_id=g.request_id)


def request_id() -> str:
    """Return the id of the current request."""
    return cast(str, g.request_id)


def elapsed_ms() -> int:
    """Return the duration of the current request so far, in ms."""
    begun_mono_ms: float = g.begun_mono_ms
    return round(mono_ms() - begun_mono_ms)


def add_header(response: Response) -> Response:
    """Add the request id to the response."""
    response.headers[HEADER] = g.request_id
    return response


def end(_error: BaseException | None) -> None:
    """Remove the id from the log context of this thread."""
    bound = g.pop("bound_before", None)
    if bound is not None:
        structlog.contextvars.reset_contextvars(**bound)
