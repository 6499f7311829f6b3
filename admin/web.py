"""Puts the Flask application together: guard, problems, security headers, API and pages."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from . import problems
from .api import actions, description, jobs, metrics, probes, scheduler
from .loopback import refusal
from .pages import queues as pages
from .parts import keep

if TYPE_CHECKING:
    from nomad_actors.app import App

#: The largest body that is read; a job's data is small, and lives in Redis.
MAX_BODY_BYTES = 1024 * 1024

_HEADERS = {
    # Nothing but our own style sheet: no script, no frame, no form, nothing from elsewhere.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(app: App) -> Flask:
    """Return the admin of an application as a WSGI application; nothing connects before the first request."""
    web = Flask("admin", static_url_path="/admin/static")
    web.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # The order of the documentation, not of the alphabet.
    web.json.sort_keys = False  # type: ignore[attr-defined]
    # Ids may hold slashes, two in a row too.
    web.url_map.merge_slashes = False
    keep(web, app)
    problems.install(web)
    web.before_request(_guard)
    web.after_request(_secure)
    for blueprint in (probes.api, metrics.api, jobs.api, actions.api, scheduler.api, description.api, pages.pages):
        web.register_blueprint(blueprint)
    return web


def _guard() -> Response | None:
    reason = refusal(request)
    return problems.problem(HTTPStatus.FORBIDDEN, reason) if reason else None


def _secure(answer: Response) -> Response:
    answer.headers.update(_HEADERS)
    return answer
