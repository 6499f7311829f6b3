"""Logging in with a token, and out."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request

from nomad_actors.errors import Unavailable

from ..access import forms, guard, journal, sessions
from ..access.actors import Actor, current_actor, recognise
from ..inputs import NoQuery, read_query
from ..parts import application
from . import notices

pages = Blueprint("pages_login", __name__)


@pages.get("/admin/login")
def login() -> Response:
    """Show the form that takes a token; there is nothing to log in to where none are configured."""
    read_query(request, NoQuery)
    if not application().settings.admin_tokens or current_actor().session:
        return _go("/admin/")
    return make_response(render_template("login.html", error=None))


@pages.post("/admin/login")
def take_token() -> Response:
    """Begin a session for whoever shows a right token."""
    app = application()
    if not app.settings.admin_tokens:
        return _go("/admin/")
    try:
        token = guard.by_token(request.form.get("token", "").strip())
    except guard.Refused as refused:
        journal.refused(refused.status, refused.reason, refused.detail)
        answer = make_response(render_template("login.html", error=refused.detail), refused.status)
        answer.headers.update(refused.headers)
        return answer
    recognise(Actor(token.name, token.role))
    try:
        journal.begin()
    except Unavailable as error:
        return journal.not_begun(error)
    answer = _go("/admin/")
    cookie = sessions.new_session(token, app.clock.now_ms())
    forms.set_cookie(answer, sessions.COOKIE, cookie, lifetime_ms=sessions.LIFETIME_MS)
    return answer


@pages.post("/admin/logout")
def logout() -> Response:
    """End this browser's session."""
    answer = _go("/admin/login")
    answer.delete_cookie(sessions.COOKIE, path="/admin", httponly=True, samesite="Strict")
    notices.leave(answer, "You are logged out.", done=True)
    return answer


def _go(path: str) -> Response:
    return make_response(redirect(path, HTTPStatus.SEE_OTHER))
