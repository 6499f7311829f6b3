"""Forms of ours, told from forms that another site's page sends: a token that only a page of this browser can know."""

from __future__ import annotations

import hmac
import secrets

from flask import Response, g, request

from ..links import link
from .actors import current_actor

FIELD = "form_token"
#: Where there is no session: before the login, and beside a token in a header.
COOKIE = "nomad_form"


def form_token() -> str:
    """Return the token that this browser's forms must bring; makes the browser's secret when it has none."""
    seed = _seed()
    if seed is None:
        seed = g.new_form_seed = secrets.token_urlsafe(32)
    return _token(seed)


def is_ours(given: str) -> bool:
    """Return whether a form's token is that of the browser's session."""
    seed = _seed()
    return seed is not None and hmac.compare_digest(_token(seed).encode(), given.encode("utf-8", "surrogateescape"))


def keep_seed(answer: Response) -> Response:
    """Give the browser its secret, where one was made for this answer's forms."""
    seed = g.get("new_form_seed")
    if seed is not None:
        set_cookie(answer, COOKIE, seed)
    return answer


def set_cookie(answer: Response, name: str, value: str, *, lifetime_ms: int | None = None) -> None:
    """Set a cookie that no script reads, no other site sends, and no plain connection carries after a safe one."""
    seconds = None if lifetime_ms is None else lifetime_ms // 1000
    answer.set_cookie(
        name, value, max_age=seconds, path=link("/admin"), httponly=True, samesite="Strict", secure=_over_https()
    )


def delete_cookie(answer: Response, name: str) -> None:
    """Take a cookie of ours away from its browser."""
    answer.delete_cookie(name, path=link("/admin"), httponly=True, samesite="Strict", secure=_over_https())


def _seed() -> str | None:
    session = current_actor().session
    if session is not None:
        return f"session {session.secret}"
    made = g.get("new_form_seed")
    return f"{made}" if made else request.cookies.get(COOKIE) or None


def _token(seed: str) -> str:
    return hmac.new(seed.encode("utf-8", "surrogateescape"), b"nomad admin form", "sha256").hexdigest()


def _over_https() -> bool:
    # Behind a proxy that ends TLS the browser's own word is all there is; it says it with every form.
    return request.is_secure or request.headers.get("Origin", "").startswith("https://")
