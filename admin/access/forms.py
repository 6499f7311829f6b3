"""CSRF protection: a form must contain a token that only pages in the same browser can know."""

from __future__ import annotations

import hmac
import secrets

from flask import Response, g, request

from ..urls import link
from .actors import current_actor

FIELD = "form_token"
#: The seed for browsers without a session: before the login, or with a token in a header.
COOKIE = "nomad_form"


def form_token() -> str:
    """Return the token for this browser's forms; creates the browser's seed if it has none."""
    seed = _seed()
    if seed is None:
        seed = g.new_form_seed = secrets.token_urlsafe(32)
    return _token(seed)


def is_valid(token: str) -> bool:
    """Return True if a form's token belongs to this browser."""
    seed = _seed()
    return seed is not None and hmac.compare_digest(_token(seed).encode(), token.encode("utf-8", "surrogateescape"))


def set_seed_cookie(response: Response) -> Response:
    """Send the browser its seed if one was created for this page."""
    seed = g.get("new_form_seed")
    if seed is not None:
        set_cookie(response, COOKIE, seed)
    return response


def set_cookie(response: Response, name: str, value: str, *, lifetime_ms: int | None = None) -> None:
    """Set a cookie that is HttpOnly, SameSite=Strict and, over HTTPS, Secure."""
    seconds = None if lifetime_ms is None else lifetime_ms // 1000
    response.set_cookie(
        name, value, max_age=seconds, path=link("/admin"), httponly=True, samesite="Strict", secure=_over_https()
    )


def delete_cookie(response: Response, name: str) -> None:
    """Delete one of our cookies in the browser."""
    response.delete_cookie(name, path=link("/admin"), httponly=True, samesite="Strict", secure=_over_https())


def _seed() -> str | None:
    session = current_actor().session
    if session is not None:
        return f"session {session.secret}"
    new_seed = g.get("new_form_seed")
    return f"{new_seed}" if new_seed else request.cookies.get(COOKIE) or None


def _token(seed: str) -> str:
    return hmac.new(seed.encode("utf-8", "surrogateescape"), b"nomad admin form", "sha256").hexdigest()


def _over_https() -> bool:
    # Behind a proxy that terminates TLS only the browser's Origin tells; browsers send it with every form.
    return request.is_secure or request.headers.get("Origin", "").startswith("https://")
