"""A name for each request: in its answer, in every log line it causes, and in the audit log."""

from __future__ import annotations

import re
import uuid
from typing import cast

import structlog
from flask import Response, g, request

from nomad_actors.clock import mono_ms

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def begin() -> None:
    """Take the caller's id when it is one, else make one; from here on every line says it."""
    given = request.headers.get(HEADER, "")
    g.request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex
    g.begun_mono_ms = mono_ms()
    g.bound_before = structlog.contextvars.bind_contextvars(request_id=g.request_id)


def request_id() -> str:
    """Return the id of the request at hand."""
    return cast(str, g.request_id)


def elapsed_ms() -> int:
    """Return how long the request at hand has taken."""
    begun_mono_ms: float = g.begun_mono_ms
    return round(mono_ms() - begun_mono_ms)


def tell(answer: Response) -> Response:
    """Say the id in the answer."""
    answer.headers[HEADER] = g.request_id
    return answer


def end(_error: BaseException | None) -> None:
    """Leave nothing to the thread's next request."""
    bound = g.pop("bound_before", None)
    if bound is not None:
        structlog.contextvars.reset_contextvars(**bound)
