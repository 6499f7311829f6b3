"""Logging in, with a token or a one-time link, and out."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request
from pydantic import Field

from nomad_actors.errors import Unavailable
from nomad_actors.settings.admin_tokens import AdminToken
from nomad_actors.store import LinkUsed, local_token

from ..access import forms, guard, journal, sessions
from ..access.actors import NOBODY, Actor, current_actor, recognise
from ..access.guard import Refused
from ..access.tokens import is_revoked, own_token
from ..inputs import Query, read_query
from ..links import link
from ..parts import application
from . import notices

pages = Blueprint("pages_login", __name__)

_NEW_LINK = "`nomad admin link` prints a new one"


class OfLogin(Query):
    """What a one-time link brings."""

    once: str = Field(default="", max_length=200)


@pages.get("/admin/login")
def login() -> Response:
    """Show the form that takes a token; begin a session for whoever opens a one-time link."""
    code = read_query(request, OfLogin).once
    # A browser that fetches ahead, or looks whether the address is there, has not opened the link yet.
    if code and request.method == "GET" and "prefetch" not in request.headers.get("Sec-Purpose", ""):
        return _taken_link(code)
    if current_actor().session:
        return _go("/admin/")
    return make_response(_form(None))


@pages.post("/admin/login")
def take_token() -> Response:
    """Begin a session for whoever shows a right token."""
    try:
        token = guard.by_token(request.form.get("token", "").strip())
    except Refused as refused:
        return _refused(refused)
    return _begun(token)


@pages.post("/admin/logout")
def logout() -> Response:
    """End this browser's session, in every admin."""
    session = current_actor().session
    if session is not None:
        try:
            journal.begin()
            sessions.end(session.secret)
        except Unavailable as error:
            sessions.forget(session.secret)
            answer = journal.not_begun(error)
            forms.delete_cookie(answer, sessions.COOKIE)
            return answer
    answer = _go("/admin/login")
    forms.delete_cookie(answer, sessions.COOKIE)
    notices.leave(answer, "You are logged out.", done=True)
    return answer


def _taken_link(code: str) -> Response:
    token = own_token()
    if token is None and application().settings.admin_tokens:
        detail = "This admin has tokens (NOMAD_ADMIN_TOKENS) and takes no links: log in with one of them."
        return _refused(Refused(HTTPStatus.UNAUTHORIZED, "link", detail))
    name = None if token is None else local_token.link_of(code, token, application().clock.now_ms())
    if token is None or name is None or is_revoked(local_token.entry_of(token)):
        return _refused(Refused(HTTPStatus.UNAUTHORIZED, "link", f"This link has expired or is invalid; {_NEW_LINK}"))
    return _begun(local_token.entry_of(token), name)


def _begun(token: AdminToken, one_time_link: str | None = None) -> Response:
    """Return the answer that gives a browser its session."""
    try:
        recognise(Actor(token.name, token.role))
        # First: a link that is used up without a session would lock its owner out.
        journal.begin()
        secret = sessions.begin(token, link=one_time_link)
    except LinkUsed:
        detail = f"the link was used before; {_NEW_LINK}"
        journal.set_outcome(HTTPStatus.UNAUTHORIZED, detail)
        recognise(NOBODY)
        return make_response(_form(detail), HTTPStatus.UNAUTHORIZED)
    except Unavailable as error:
        return journal.not_begun(error)
    answer = _go("/admin/")
    forms.set_cookie(answer, sessions.COOKIE, secret, lifetime_ms=sessions.LIFETIME_MS)
    return answer


def _refused(refused: Refused) -> Response:
    journal.refused(refused.status, refused.reason, refused.detail, actor=refused.actor)
    answer = make_response(_form(refused.detail), refused.status)
    answer.headers.update(refused.headers)
    return answer


def _form(error: str | None) -> str:
    settings = application().settings
    file = None if settings.admin_tokens else settings.var_dir / local_token.TOKEN_FILE
    return render_template("login.html", error=error, token_file=file)


def _go(path: str) -> Response:
    return make_response(redirect(link(path), HTTPStatus.SEE_OTHER))
