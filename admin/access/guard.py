"""The guard before every request. It refuses by default; it logs and audits each refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from flask import Response, g, make_response, redirect, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from nomad_actors.errors import NomadError, Unavailable
from nomad_actors.logs.known_secrets import KNOWN
from nomad_actors.settings.admin_tokens import OPERATOR, READER, AdminToken, find_token
from nomad_actors.store import local_token

from .. import problems
from ..api.declared import current_declaration
from ..current_app import application
from ..inputs import MAX_FORM_BYTES
from ..urls import link
from . import forms, journal, loopback, sessions, tokens
from .actors import NOBODY, VISITOR, Actor, current_actor, set_actor

READ_METHODS = ("GET", "HEAD", "OPTIONS")
#: Open to everybody, under any Host: probes have no token and no name for us.
_ALIVE = "probes.alive"
#: Open without a token, since they show nothing of the queues.
_OPEN = {"pages_login.login", "pages_login.take_token", "static", "pages.home"}
#: The API's description, without which nobody can write a client: for readers too.
_DESCRIPTION = "description.description"
#: Changes only who is logged in.
_SESSION_ONLY = {"pages_login.take_token", "pages_login.logout"}
#: What to do if no tokens are configured.
_LOG_IN = (
    "open the link that `nomad admin link` prints on the admin's machine, or send "
    f"Authorization: Bearer TOKEN with the token in the file {local_token.TOKEN_FILE} in NOMAD_VAR_DIR"
)
_SET_TOKENS = (
    "for access from other machines or through a proxy, set NOMAD_ADMIN_TOKENS (`nomad token NAME --role viewer` "
    "creates a token) and NOMAD_ADMIN_HOSTS"
)
_BEARER = re.compile(r"(?i)bearer +(\S+) *")


@dataclass
class Refused(NomadError):
    """Raised for a request that the guard refuses; `reason` is the code in the audit log.

    `actor` is the owner of the token if the token is known but no longer valid.
    """

    status: HTTPStatus
    reason: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    actor: str = ""


def check() -> Response | None:
    """Return the refusal of the current request, or None if it may pass; audits a permitted change."""
    try:
        _identify()
        _authorize()
    except Refused as refused:
        if refused.reason == "no_token" and problems.is_page() and request.method in READ_METHODS:
            return make_response(redirect(link("/admin/login"), HTTPStatus.SEE_OTHER))
        journal.record_refusal(refused.status, refused.reason, refused.detail, actor=refused.actor)
        response = problems.problem(refused.status, refused.detail)
        response.headers.update(refused.headers)
        return response
    if request.method in READ_METHODS or request.endpoint in _SESSION_ONLY or request.routing_exception:
        return None
    try:
        journal.record_change()
    except Unavailable as error:
        return journal.not_audited(error)
    return None


def delete_ended_session(response: Response) -> Response:
    """Delete the cookie of an ended session in the browser: else every further page would record a refusal."""
    if g.get("no_session") and sessions.COOKIE not in response.headers.get("Set-Cookie", ""):
        forms.delete_cookie(response, sessions.COOKIE)
    return response


def authenticate(presented: str) -> AdminToken:
    """Return the entry of a token; a valid token always passes, however many wrong ones came before.

    Raises `Refused` for a wrong token: 401, and 429 after too many different ones from the same source.
    """
    token = find_token(tokens.known_tokens(), presented)
    if token is not None:
        if tokens.is_revoked(token):
            raise _unauthorized("revoked", f"the token of {token.name} was revoked", actor=token.name)
        # Only a valid token: guessers must not be able to choose which texts the log redacts.
        KNOWN.add(presented)
        return token
    seconds = tokens.wait_seconds(tokens.source_of(request.remote_addr or ""))
    if seconds:
        detail = f"too many wrong tokens came from {request.remote_addr}, and this token is wrong too"
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "tries", detail, {"Retry-After": str(seconds)})
    raise _unauthorized(tokens.WRONG_TOKEN, tokens.describe_wrong(presented))


def _identify() -> None:
    """Set the request's actor; raise `Refused` for an invalid token and for a Host that is not ours."""
    settings = application().settings
    if request.endpoint == _ALIVE:
        return
    wrong = loopback.host_refusal(request, (settings.admin_host, *settings.admin_hosts))
    if wrong:
        raise Refused(HTTPStatus.FORBIDDEN, "host", f"{wrong}; NOMAD_ADMIN_HOSTS adds names")
    header = request.headers.get("Authorization")
    if header is not None:
        match = _BEARER.fullmatch(header)
        token = authenticate(match[1] if match else "")
        set_actor(Actor.of_token(token))
    elif problems.is_page():
        _identify_by_session()
    if current_actor() is NOBODY and not settings.admin_tokens and not any(loopback.refusals(request)):
        set_actor(VISITOR)


def _identify_by_session() -> None:
    secret = request.cookies.get(sessions.COOKIE)
    if not secret:
        return
    try:
        session = sessions.find(secret)
    except Unavailable as error:
        g.session_unknown = f"the session cannot be checked: the database is unavailable ({error})"
        return
    if session is None:
        journal.record_refusal(HTTPStatus.UNAUTHORIZED, "session", "the cookie's session does not exist or has ended")
        g.no_session = True
    else:
        set_actor(Actor.of_token(session.token, session))


def _authorize() -> None:
    """Raise `Refused` if the actor may not do this, or if another site's page made the browser send the request."""
    actor, changes, settings = current_actor(), request.method not in READ_METHODS, application().settings
    if changes:
        wrong = loopback.cross_site_refusal(request)
        if wrong:
            raise Refused(HTTPStatus.FORBIDDEN, "site", wrong)
    if actor is NOBODY and request.endpoint not in (*_OPEN, _ALIVE):
        raise _token_required()
    if not changes:
        _authorize_reading(actor)
        return
    if "session_unknown" in g:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "session", g.session_unknown)
    if request.endpoint not in _SESSION_ONLY:
        if actor is VISITOR:
            raise _unauthorized("no_token", f"changes need a token: {_LOG_IN}")
        if actor.role != OPERATOR:
            detail = f"{actor.name or 'nobody'} has the role {actor.role}; changes need the role {OPERATOR}"
            raise Refused(HTTPStatus.FORBIDDEN, "role", detail)
        if settings.admin_read_only:
            raise Refused(HTTPStatus.FORBIDDEN, "read_only", "this admin is read-only (NOMAD_ADMIN_READ_ONLY is set)")
    # None of our forms sends files. Parsing a multipart form would write its parts to temporary files.
    is_form = request.mimetype in ("", "application/x-www-form-urlencoded")
    if not problems.is_page() or is_form:
        _read_body()
    if problems.is_page() and not (is_form and forms.is_valid(request.form.get(forms.FIELD, ""))):
        detail = "the form does not belong to this browser's session; go back, reload the page and try again"
        raise Refused(HTTPStatus.FORBIDDEN, "csrf", detail)


def _authorize_reading(actor: Actor) -> None:
    """Raise `Refused` for players' data without a token, and for everything else with the role reader."""
    declaration = current_declaration()
    is_data = declaration is not None and declaration.is_data
    if is_data and actor is VISITOR:
        # The database is accessible only to its owner: other users of this machine must not read it here.
        raise _unauthorized("no_token", f"players' data needs a token, also on this machine: {_LOG_IN}")
    is_open = request.endpoint in (*_OPEN, _ALIVE, _DESCRIPTION) or request.routing_exception
    if actor.role == READER and not is_data and not is_open:
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "role",
            f"{actor.name} has the role {READER}, which may read only /data/ and /admin/openapi.json",
        )


def _token_required() -> Refused:
    if "session_unknown" in g:
        return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "session", g.session_unknown)
    if not application().settings.admin_tokens:
        reason, why = next(loopback.refusals(request))
        return _unauthorized(reason, f"{why}: a token is required; {_LOG_IN}; {_SET_TOKENS}")
    page = f"you are not logged in, or your session has ended; log in at {link('/admin/login')}, then try again"
    api = "a Bearer token in the Authorization header is required"
    return _unauthorized("no_token", page if problems.is_page() else api)


def _read_body() -> None:
    """Raise `Refused` for a body that is too large or incomplete."""
    declaration = current_declaration()
    if declaration is not None:
        request.max_content_length = declaration.max_body_bytes
    elif problems.is_page():
        request.max_content_length = MAX_FORM_BYTES
    limit, length = request.max_content_length, request.content_length
    try:
        raw = request.get_data()
    except RequestEntityTooLarge as error:
        raise _too_large(limit) from error
    except (OSError, BadRequest) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "body", f"the body cannot be read ({error})") from error
    # Werkzeug truncates a body of unknown length at the limit; it refuses only a body with a Content-Length.
    if limit and length is None and len(raw) >= limit:
        raise _too_large(limit)
    # The missing part may matter: never act on half a request, or on its defaults.
    if length is not None and len(raw) < length:
        raise Refused(HTTPStatus.BAD_REQUEST, "body", f"the body ended after {len(raw)} of {length} bytes")


def _too_large(limit: int | None) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", f"the body is larger than {limit} bytes")


def _unauthorized(reason: str, detail: str, *, actor: str = "") -> Refused:
    headers = {"WWW-Authenticate": 'Bearer realm="nomad admin"'}
    return Refused(HTTPStatus.UNAUTHORIZED, reason, detail, headers, actor)
