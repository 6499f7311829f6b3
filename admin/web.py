"""Assembles the Flask application: guard, error responses, security headers, API and web pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, g

from nomad_actors.logs.foreign_text import came_from_outside

from . import openapi, problems
from .access import forms, guard, journal
from .access.proxies import BehindProxies
from .api import actions, audit, bulk, data, doctor, esi, jobs, metrics, pauses, probes, scheduler
from .api.declared import current_declaration
from .current_app import attach
from .inputs import MAX_BODY_BYTES
from .pages import actions as page_actions
from .pages import bulk as page_bulk
from .pages import login, notices, show, words
from .pages import pauses as page_pauses
from .urls import JobIdConverter

if TYPE_CHECKING:
    from nomad_actors.app import AdminAccess

_HEADERS = {
    # Only our own style sheet and images: no scripts, no frames, nothing from other sites; forms only to ourselves.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Its own caller may keep a player's data, and asks with its ETag whether it is current; no proxy may.
_DATA_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}


class _EscapingResponse(Response):
    """A response whose text may contain half a surrogate pair, from an error or from a job's data."""

    def set_data(self, value: bytes | str) -> None:
        super().set_data(value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value)


class _Admin(Flask):
    def full_dispatch_request(self) -> Response:
        # User code may raise a BaseException that is no Exception; Flask does not catch those.
        try:
            return super().full_dispatch_request()
        except BaseException as error:
            if issubclass(type(error), Exception) or came_from_outside(error):
                raise
            return self.finalize_request(problems.unexpected(error), from_error_handler=True)


def create_app(app: AdminAccess) -> Flask:
    """Return an application's admin as a WSGI application; it connects to nothing before the first request."""
    web = _Admin("admin", static_url_path="/admin/static")
    web.response_class = _EscapingResponse
    web.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # Fields appear in the documented order, not alphabetically.
    web.json.sort_keys = False  # type: ignore[attr-defined]
    # Job ids may contain slashes, also two in a row.
    web.url_map.merge_slashes = False
    web.url_map.converters["job"] = JobIdConverter
    web.jinja_env.finalize = words.bounded
    attach(web, app)
    settings = app.settings
    web.wsgi_app = BehindProxies(  # type: ignore[method-assign]
        web.wsgi_app, trusted=settings.admin_trusted_proxies, prefix=settings.admin_prefix
    )
    problems.install(web)
    web.before_request(journal.begin)
    web.before_request(guard.check)
    # Flask runs the last one first: the outcome is recorded before the others change the response.
    web.after_request(_add_headers)
    web.after_request(forms.set_seed_cookie)
    web.after_request(guard.delete_ended_session)
    web.after_request(notices.delete_shown)
    web.after_request(journal.record_outcome)
    web.teardown_request(journal.end)
    apis = (probes, metrics, jobs, actions, bulk, pauses, esi, scheduler, audit, doctor, data, openapi)
    for blueprint in (module.api for module in apis):
        web.register_blueprint(blueprint)
    page_modules = (show, page_actions, page_pauses, page_bulk, login)
    for blueprint in (module.pages for module in page_modules):
        web.register_blueprint(blueprint)
    return web


def _add_headers(response: Response) -> Response:
    response.headers.update({**_HEADERS, journal.ID_HEADER: g.request_id})
    declaration = current_declaration()
    if declaration is not None and declaration.is_data:
        response.headers.update(_DATA_HEADERS)
    return response
