"""Error responses: `application/problem+json` (RFC 9457) with the allowed values, or an HTML page for a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, render_template, request
from werkzeug.exceptions import HTTPException

from nomad_actors import logs
from nomad_actors.errors import NomadError
from nomad_actors.logs import error_reports

logger = logs.get_logger("admin")

#: When a client should try again while Redis or the database is unavailable.
RETRY_AFTER_SECONDS = 5


def install(web: Flask) -> None:
    """Make `web` answer every error with a problem response; no traceback leaves the process."""
    web.register_error_handler(NomadError, of_error)
    web.register_error_handler(HTTPException, _http_error)
    web.register_error_handler(Exception, unexpected)


def is_page() -> bool:
    """Return True if the current request is for an HTML page."""
    return (request.blueprint or "").startswith("pages")


def problem(status: HTTPStatus, detail: str, *, accepted: Sequence[str] = (), **more: Any) -> Response:
    """Return an error response; `accepted` are the allowed values, `more` are further JSON members."""
    headers = {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        detail, headers["Retry-After"] = logs.redact(detail), str(RETRY_AFTER_SECONDS)
    g.problem_detail = detail
    if is_page():
        page = render_template("error.html", status=status, detail=detail, accepted=accepted)
        return current_app.make_response((page, status, headers))
    body: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    if accepted:
        body["accepted"] = list(accepted)
    return Response(json.dumps({**body, **more}), status, headers, mimetype="application/problem+json")


def of_error(error: NomadError, **more: Any) -> Response:
    """Return the response to one of our errors; `more` are further JSON members."""
    if error.http_status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected(error)
    return problem(error.http_status, str(error), accepted=getattr(error, "accepted", ()), **more)


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
