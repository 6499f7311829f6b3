"""Puts the Flask application together: guard, problems, security headers, API and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response

from nomad_actors.logs.foreign_text import came_from_outside

from . import problems
from .access import forms, guard, journal, request_ids
from .access.proxies import BehindProxies
from .answer import Answer
from .api import actions, audit, bulk, description, doctor, holds, jobs, metrics, probes, scheduler
from .job_id_converter import JobIdConverter
from .pages import actions as page_actions
from .pages import audit as audit_page
from .pages import bulk as page_bulk
from .pages import checks, login, notices, words
from .pages import holds as page_holds
from .pages import queues as pages
from .parts import keep
from .sizes import MAX_BODY_BYTES

if TYPE_CHECKING:
    from nomad_actors.app import AdminAccess

_HEADERS = {
    # Nothing but our own style sheet: no script, no frame, nothing from elsewhere, and forms to ourselves.
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


class _Admin(Flask):
    """Answers also where the application's own code raises what Flask does not catch."""

    def full_dispatch_request(self) -> Response:
        """Answer the request at hand."""
        try:
            return super().full_dispatch_request()
        except BaseException as error:
            if issubclass(type(error), Exception) or came_from_outside(error):
                raise
            return self.finalize_request(problems.unknown(error), from_error_handler=True)


def create_app(app: AdminAccess) -> Flask:
    """Return the admin of an application as a WSGI application; nothing connects before the first request."""
    web = _Admin("admin", static_url_path="/admin/static")
    web.response_class = Answer
    web.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # The order of the documentation, not of the alphabet.
    web.json.sort_keys = False  # type: ignore[attr-defined]
    # Ids may hold slashes, two in a row too.
    web.url_map.merge_slashes = False
    web.url_map.converters["job"] = JobIdConverter
    web.jinja_env.finalize = words.bounded
    keep(web, app)
    settings = app.settings
    web.wsgi_app = BehindProxies(  # type: ignore[method-assign]
        web.wsgi_app, trusted=settings.admin_trusted_proxies, prefix=settings.admin_prefix
    )
    problems.install(web)
    web.before_request(request_ids.begin)
    web.before_request(guard.check)
    # The last one registered comes first: the outcome is written before anything is added to the answer.
    for step in (request_ids.tell, _secure, forms.keep_seed, guard.drop_ended, notices.forget_shown, journal.finish):
        web.after_request(step)
    web.teardown_request(request_ids.end)
    apis = (probes, metrics, jobs, actions, bulk, holds, scheduler, audit, doctor, description)
    for blueprint in (module.api for module in apis):
        web.register_blueprint(blueprint)
    shown = (pages, page_actions, page_holds, page_bulk, audit_page, checks, login)
    for blueprint in (module.pages for module in shown):
        web.register_blueprint(blueprint)
    return web


def _secure(answer: Response) -> Response:
    answer.headers.update(_HEADERS)
    return answer
