"""Login with a token or a one-time link, and logout."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request
from pydantic import Field

from nomad_actors.errors import Unavailable
from nomad_actors.settings.admin_tokens import READER, AdminToken
from nomad_actors.store import LinkUsed, local_token

from ..access import forms, guard, journal, sessions
from ..access.actors import NOBODY, Actor, current_actor, set_actor
from ..access.guard import Refused
from ..access.tokens import is_revoked, own_token
from ..current_app import application
from ..inputs import Input, read_query
from ..urls import link
from . import notices

pages = Blueprint("pages_login", __name__)

_NEW_LINK = "`nomad admin link` prints a new one"


class LoginQuery(Input):
    """The code of a one-time link."""

    once: str = Field(default="", max_length=200)


@pages.get("/admin/login")
def login() -> Response:
    """Show the login form, or begin a session for a one-time link."""
    code = read_query(request, LoginQuery).once
    # A prefetch or a HEAD request must not use up the link.
    if code and request.method == "GET" and "prefetch" not in request.headers.get("Sec-Purpose", ""):
        return _log_in_by_link(code)
    if current_actor().session:
        return _go("/admin/")
    return make_response(_form(None))


@pages.post("/admin/login")
def take_token() -> Response:
    """Begin a session for a valid token."""
    try:
        token = guard.authenticate(request.form.get("token", "").strip())
        if token.role == READER:
            detail = f"The token of {token.name} has the role {READER}: it reads /data/, and opens no pages."
            raise Refused(HTTPStatus.FORBIDDEN, "role", detail, actor=token.name)
    except Refused as refused:
        return _refused(refused)
    return _begin_session(token)


@pages.post("/admin/logout")
def logout() -> Response:
    """End this browser's session, in every admin."""
    session = current_actor().session
    if session is not None:
        try:
            journal.record_change()
            sessions.end(session.secret)
        except Unavailable as error:
            sessions.forget(session.secret)
            response = journal.not_audited(error)
            forms.delete_cookie(response, sessions.COOKIE)
            return response
    response = _go("/admin/login")
    forms.delete_cookie(response, sessions.COOKIE)
    notices.leave(response, "You are logged out.", done=True)
    return response


def _log_in_by_link(code: str) -> Response:
    if application().settings.admin_tokens:
        detail = (
            "This admin has configured tokens (NOMAD_ADMIN_TOKENS), so it does not accept links: log in with a token."
        )
        return _refused(Refused(HTTPStatus.UNAUTHORIZED, "link", detail))
    token = own_token()
    name = None if token is None else local_token.link_of(code, token, application().clock.now_ms())
    if token is None or name is None or is_revoked(local_token.entry_of(token)):
        return _refused(Refused(HTTPStatus.UNAUTHORIZED, "link", f"This link has expired or is invalid; {_NEW_LINK}"))
    return _begin_session(local_token.entry_of(token), name)


def _begin_session(token: AdminToken, one_time_link: str | None = None) -> Response:
    try:
        set_actor(Actor.of_token(token))
        # The audit log first: if it failed after the link was used up, the owner would be locked out.
        journal.record_change()
        secret = sessions.begin(token, link=one_time_link)
    except LinkUsed:
        detail = f"This link was already used; {_NEW_LINK}"
        journal.set_outcome(HTTPStatus.UNAUTHORIZED, detail)
        set_actor(NOBODY)
        return make_response(_form(detail), HTTPStatus.UNAUTHORIZED)
    except Unavailable as error:
        return journal.not_audited(error)
    response = _go("/admin/")
    forms.set_cookie(response, sessions.COOKIE, secret, lifetime_ms=sessions.LIFETIME_MS)
    return response


def _refused(refused: Refused) -> Response:
    journal.record_refusal(refused.status, refused.reason, refused.detail, actor=refused.actor)
    response = make_response(_form(refused.detail), refused.status)
    response.headers.update(refused.headers)
    return response


def _form(error: str | None) -> str:
    settings = application().settings
    file = None if settings.admin_tokens else settings.var_dir / local_token.TOKEN_FILE
    return render_template("login.html", error=error, token_file=file)


def _go(path: str) -> Response:
    return make_response(redirect(link(path), HTTPStatus.SEE_OTHER))
