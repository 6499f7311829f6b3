"""Errors as callers see them: `application/problem+json` (RFC 9457) naming what is accepted, a page for a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from nomad_actors import logs
from nomad_actors.errors import (
    BadInput,
    JobNotFound,
    NomadError,
    Unavailable,
    UnknownQueue,
    UnknownSchedule,
    WrongState,
)
from nomad_actors.logs import error_reports

from .answer import Answer

logger = logs.get_logger("admin")

#: The first class that fits decides: subclasses stand before their bases.
_STATUS: Sequence[tuple[type[NomadError], HTTPStatus]] = (
    (UnknownQueue, HTTPStatus.NOT_FOUND),
    (UnknownSchedule, HTTPStatus.NOT_FOUND),
    (JobNotFound, HTTPStatus.NOT_FOUND),
    (WrongState, HTTPStatus.CONFLICT),
    (BadInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
#: When to ask again while Redis or the database is away.
RETRY_AFTER_SECONDS = 5


def install(web: Flask) -> None:
    """Make `web` answer every error as a problem, and no traceback leave the process."""
    web.register_error_handler(NomadError, _known)
    web.register_error_handler(HTTPException, _http)
    web.register_error_handler(Exception, unknown)


def is_page() -> bool:
    """Return whether the request at hand is for a page, which a person reads."""
    return (request.blueprint or "").startswith("pages")


def status_of(error: NomadError) -> HTTPStatus:
    """Return the status that says what kind of error it is."""
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(status: HTTPStatus, detail: str, *, accepted: Sequence[str] = (), **more: Any) -> Response:
    """Return an answer that says what was wrong, `accepted` values and `more` members beside it."""
    g.problem_detail = detail
    if is_page():
        page = render_template("error.html", status=status, detail=detail, accepted=accepted)
        return Answer(page, status, mimetype="text/html")
    body: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    if accepted:
        body["accepted"] = list(accepted)
    return Response(json.dumps({**body, **more}), status, mimetype="application/problem+json")


def unavailable(error: Unavailable, **more: Any) -> Response:
    """Return the answer for a Redis or a database that is away."""
    answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, logs.redact(str(error)), **more)
    answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def _known(error: NomadError) -> Response:
    if isinstance(error, Unavailable):
        return unavailable(error)
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return problem(status, str(error), accepted=getattr(error, "accepted", ()))
    return unknown(error)


def _http(error: HTTPException) -> Response:
    """Return what Flask itself refuses (an unknown path, a method, a body too large), with the headers it asks for."""
    answer = problem(
        HTTPStatus(error.code or 500), _detail(error), accepted=getattr(error, "valid_methods", None) or ()
    )
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            answer.headers[name] = value
    return answer


def _detail(error: HTTPException) -> str:
    if error.code == HTTPStatus.NOT_FOUND:
        return f"nothing is at {request.script_root}{request.path}; docs/admin-api.md lists what is"
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible at {request.script_root}{request.path}"
    return error.description or "the request cannot be answered"


def unknown(error: BaseException) -> Response:
    """Return the answer to a failure of the admin's, which is logged and reported."""
    logger.error("a request failed", method=request.method, path=request.path, exc_info=error)
    # The rule, not the address: ids and filters are nobody's business there.
    route = request.url_rule.rule if request.url_rule else "none"
    error_reports.report(error, {"route": f"{request.method} {route}"})
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the admin failed; its log says why")
