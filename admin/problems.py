"""Error responses: `application/problem+json` (RFC 9457) with the allowed values, or an HTML page for a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, render_template, request
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

logger = logs.get_logger("admin")

#: The first matching class decides, so subclasses come before their bases.
_STATUS: Sequence[tuple[type[NomadError], HTTPStatus]] = (
    (UnknownQueue, HTTPStatus.NOT_FOUND),
    (UnknownSchedule, HTTPStatus.NOT_FOUND),
    (JobNotFound, HTTPStatus.NOT_FOUND),
    (WrongState, HTTPStatus.CONFLICT),
    (BadInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
#: When a client should try again while Redis or the database is unavailable.
RETRY_AFTER_SECONDS = 5


def install(web: Flask) -> None:
    """Make `web` answer every error with a problem response; no traceback leaves the process."""
    web.register_error_handler(NomadError, _nomad_error)
    web.register_error_handler(HTTPException, _http_error)
    web.register_error_handler(Exception, unexpected)


def is_page() -> bool:
    """Return True if the current request is for an HTML page."""
    return (request.blueprint or "").startswith("pages")


def status_of(error: NomadError) -> HTTPStatus:
    """Return the HTTP status of an error."""
    matching = (status for error_class, status in _STATUS if isinstance(error, error_class))
    return next(matching, HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(status: HTTPStatus, detail: str, *, accepted: Sequence[str] = (), **more: Any) -> Response:
    """Return an error response; `accepted` are the allowed values, `more` are further JSON members."""
    g.problem_detail = detail
    if is_page():
        page = render_template("error.html", status=status, detail=detail, accepted=accepted)
        return current_app.make_response((page, status))
    body: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    if accepted:
        body["accepted"] = list(accepted)
    return Response(json.dumps({**body, **more}), status, mimetype="application/problem+json")


def unavailable(error: Unavailable, **more: Any) -> Response:
    """Return the response while Redis or the database is unavailable."""
    response = problem(HTTPStatus.SERVICE_UNAVAILABLE, logs.redact(str(error)), **more)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _nomad_error(error: NomadError) -> Response:
    if isinstance(error, Unavailable):
        return unavailable(error)
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected(error)
    return problem(status, str(error), accepted=getattr(error, "accepted", ()))


def _http_error(error: HTTPException) -> Response:
    """Return the response to an error of Flask itself (unknown path, method, body too large), with its headers."""
    allowed_methods = getattr(error, "valid_methods", None) or ()
    response = problem(HTTPStatus(error.code or 500), _detail(error), accepted=allowed_methods)
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def _detail(error: HTTPException) -> str:
    if error.code == HTTPStatus.NOT_FOUND:
        return f"{request.script_root}{request.path} does not exist; docs/admin-api.md lists all paths"
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"method {request.method} is not allowed for {request.script_root}{request.path}"
    return error.description or "the request failed"


def unexpected(error: BaseException) -> Response:
    """Log and report an unexpected error of the admin; return the response to it."""
    logger.error("a request failed", method=request.method, path=request.path, exc_info=error)
    # The rule, not the URL: the error tracker must not see ids and filters.
    route = request.url_rule.rule if request.url_rule else "none"
    error_reports.report(error, {"route": f"{request.method} {route}"})
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the admin failed; see its log for the cause")
