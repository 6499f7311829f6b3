"""The guard before every request: closed by default; what it refuses is answered, logged and audited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from flask import Response, current_app, g, redirect, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from nomad_actors.errors import NomadError, Unavailable
from nomad_actors.logs.known_secrets import KNOWN
from nomad_actors.settings.admin_tokens import OPERATOR, AdminToken, find_token
from nomad_actors.store import local_token

from .. import loopback, problems
from ..api.declared import Endpoint
from ..links import link
from ..parts import application
from ..sizes import MAX_FORM_BYTES
from . import forms, journal, sessions, tries
from .actors import NOBODY, VISITOR, Actor, current_actor, recognise
from .tokens import is_revoked, known_tokens

READING = ("GET", "HEAD", "OPTIONS")
#: Needs nothing at all: a probe has no name for us and no token.
_ALIVE = "probes.alive"
#: Shows nothing of the queues: the login, its style sheet, and the way to it.
_OPEN = {"pages_login.login", "pages_login.take_token", "static", "pages.home"}
#: Changes nothing but who is logged in.
_SESSION_ONLY = {"pages_login.take_token", "pages_login.logout"}
#: What to do where no tokens are configured.
_LOG_IN = (
    "open the link that `nomad admin link` prints on the admin's machine, or send "
    f"Authorization: Bearer TOKEN with the token in {local_token.TOKEN_FILE} of NOMAD_VAR_DIR"
)
_SET_TOKENS = (
    "to let others in, or through a proxy, set NOMAD_ADMIN_TOKENS (`nomad token NAME --role viewer` makes one) and "
    "NOMAD_ADMIN_HOSTS"
)
_BEARER = re.compile(r"(?i)bearer +(\S+) *")


@dataclass
class Refused(NomadError):
    """Raised where a request may not pass; `reason` is the audit log's word for it.

    `actor` is whose token it was, if the token is known but no longer counts.
    """

    status: HTTPStatus
    reason: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    actor: str = ""


def check() -> Response | None:
    """Let the request at hand pass, None, or return its refusal; a change that passes is in the audit log."""
    try:
        _recognise()
        _allow()
    except Refused as refused:
        if refused.reason == "no_token" and problems.is_page() and request.method in READING:
            answer = redirect(link("/admin/login"), HTTPStatus.SEE_OTHER)
            assert isinstance(answer, Response)
            return answer
        return refuse(refused)
    if request.method in READING or request.endpoint in _SESSION_ONLY or request.routing_exception:
        return None
    try:
        journal.begin()
    except Unavailable as error:
        return journal.not_begun(error)
    return None


def refuse(refused: Refused) -> Response:
    """Return the answer to a refusal, and write it down."""
    journal.refused(refused.status, refused.reason, refused.detail, actor=refused.actor)
    answer = problems.problem(refused.status, refused.detail)
    answer.headers.update(refused.headers)
    return answer


def drop_ended(answer: Response) -> Response:
    """Take a cookie away from its browser that is of no use any more: it would be refused with each page."""
    if g.get("no_session") and sessions.COOKIE not in answer.headers.get("Set-Cookie", ""):
        forms.delete_cookie(answer, sessions.COOKIE)
    return answer


def by_token(presented: str) -> AdminToken:
    """Return the entry of a token that somebody presents; a right one passes whatever others tried.

    Raises `Refused` for a wrong one: 401, and 429 after too many different ones from the same source.
    """
    token = find_token(known_tokens(), presented)
    if token is not None:
        if is_revoked(token):
            raise _unknown("revoked", f"the token of {token.name} was revoked", actor=token.name)
        # A right one alone: whoever guesses must not choose what the log leaves out.
        KNOWN.add(presented)
        return token
    seconds = tries.wait_seconds(tries.source_of(request.remote_addr or ""))
    if seconds:
        detail = f"too many wrong tokens came from {request.remote_addr}, and this is not a right one"
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "tries", detail, {"Retry-After": str(seconds)})
    raise _unknown(tries.WRONG_TOKEN, tries.told_of(presented))


def _recognise() -> None:
    """Find out who asks.

    Raises `Refused` for a token that does not count, and for a name of this machine that is none.
    """
    settings = application().settings
    if request.endpoint == _ALIVE:
        return
    wrong = loopback.host_refusal(request, (settings.admin_host, *settings.admin_hosts))
    if wrong:
        raise Refused(HTTPStatus.FORBIDDEN, "host", f"{wrong}; NOMAD_ADMIN_HOSTS may name more")
    header = request.headers.get("Authorization")
    if header is not None:
        match = _BEARER.fullmatch(header)
        token = by_token(match[1] if match else "")
        recognise(Actor(token.name, token.role))
    elif problems.is_page():
        _recognise_session()
    if current_actor() is NOBODY and not settings.admin_tokens and not any(loopback.refusals(request)):
        recognise(VISITOR)


def _recognise_session() -> None:
    secret = request.cookies.get(sessions.COOKIE)
    if not secret:
        return
    try:
        session = sessions.find(secret)
    except sessions.NoSession:
        journal.refused(HTTPStatus.UNAUTHORIZED, "session", "the cookie is of no session, or of one that has ended")
        g.no_session = True
    except Unavailable as error:
        g.session_unknown = f"the database does not say whether the session still counts ({error})"
    else:
        recognise(Actor(session.token.name, session.token.role, session))


def _allow() -> None:
    """Raises `Refused` unless whoever asks may do this, and a browser was not made to ask for it."""
    actor, changes, settings = current_actor(), request.method not in READING, application().settings
    if changes:
        wrong = loopback.cross_site(request)
        if wrong:
            raise Refused(HTTPStatus.FORBIDDEN, "site", wrong)
    if actor is NOBODY and request.endpoint not in (*_OPEN, _ALIVE):
        raise _nobody()
    if not changes:
        return
    if "session_unknown" in g:
        raise _undecided()
    if request.endpoint not in _SESSION_ONLY:
        if actor is VISITOR:
            raise _unknown("no_token", f"without a token nothing is changed: {_LOG_IN}")
        if actor.role != OPERATOR:
            raise Refused(HTTPStatus.FORBIDDEN, "role", f"{actor.name or 'nobody'} may look, not change anything")
        if settings.admin_read_only:
            raise Refused(HTTPStatus.FORBIDDEN, "read_only", "this admin is read-only (NOMAD_ADMIN_READ_ONLY is set)")
    # A browser sends files in another way; our forms have none, and their parts would be kept in files of ours.
    is_form = request.mimetype in ("", "application/x-www-form-urlencoded")
    if not problems.is_page() or is_form:
        _read_body()
    if problems.is_page() and not (is_form and forms.is_ours(request.form.get(forms.FIELD, ""))):
        detail = "the form is not of this browser's session; go back, reload the page and try again"
        raise Refused(HTTPStatus.FORBIDDEN, "csrf", detail)


def _undecided() -> Refused:
    headers = {"Retry-After": str(problems.RETRY_AFTER_SECONDS)}
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "session", g.session_unknown, headers)


def _nobody() -> Refused:
    """Return the refusal of somebody without a token, and why a token is needed."""
    if "session_unknown" in g:
        return _undecided()
    if not application().settings.admin_tokens:
        reason, why = next(loopback.refusals(request))
        return _unknown(reason, f"{why}: a token is needed; {_LOG_IN}; {_SET_TOKENS}")
    page = f"nobody is logged in, or the session is over; log in at {link('/admin/login')}, then try again"
    api = "a token is needed, as a Bearer token in the Authorization header"
    return _unknown("no_token", page if problems.is_page() else api)


def _read_body() -> None:
    """Raises `Refused` for a body that is too large, whether or not it said so, and for one that did not come whole."""
    view = current_app.view_functions.get(request.endpoint or "")
    if isinstance(view, Endpoint):
        request.max_content_length = view.max_body_bytes
    elif problems.is_page():
        request.max_content_length = MAX_FORM_BYTES
    limit, length = request.max_content_length, request.content_length
    try:
        raw = request.get_data()
    except RequestEntityTooLarge as error:
        raise _too_large(limit) from error
    except (OSError, BadRequest) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "body", f"the body cannot be read ({error})") from error
    # Werkzeug cuts a body of unknown length off where it would refuse one that says its length.
    if limit and length is None and len(raw) >= limit:
        raise _too_large(limit)
    # What is missing might have said something else: nothing is done by halves, or by the defaults.
    if length is not None and len(raw) < length:
        raise Refused(HTTPStatus.BAD_REQUEST, "body", f"the body ended after {len(raw)} of {length} bytes")


def _too_large(limit: int | None) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", f"the body is larger than {limit} bytes")


def _unknown(reason: str, detail: str, *, actor: str = "") -> Refused:
    headers = {"WWW-Authenticate": 'Bearer realm="nomad admin"'}
    return Refused(HTTPStatus.UNAUTHORIZED, reason, detail, headers, actor)
