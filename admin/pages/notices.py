"""Notices: the result of a form, shown on the next page; a cookie carries it there and lives one minute."""

from __future__ import annotations

import base64
import json
from typing import Any

from flask import Response, g, request

from ..access.forms import delete_cookie, set_cookie

COOKIE = "nomad_notice"
_LIFETIME_MS = 60_000
_MAX_TEXT = 600
#: The longest cookie value before base64 makes it a third longer: browsers drop cookies of more than 4 kB.
_MAX_BYTES = 2_800


def leave(response: Response, text: str, *, done: bool) -> None:
    """Leave a notice for the next page; `done` is False if the action failed."""
    text = text[:_MAX_TEXT]
    while len(notice := _encode(text, done)) > _MAX_BYTES:
        text = text[: len(text) * 3 // 4]
    set_cookie(response, COOKIE, base64.urlsafe_b64encode(notice).decode(), lifetime_ms=_LIFETIME_MS)


def _encode(text: str, done: bool) -> bytes:
    return json.dumps({"done": done, "text": text}, ensure_ascii=False).encode(errors="replace")


def shown() -> dict[str, Any] | None:
    """Return the notice for this page and mark it as shown; None if there is no notice."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    g.notice_shown = True
    try:
        notice = json.loads(base64.urlsafe_b64decode(cookie[:4000]))
        return {"done": notice["done"] is True, "text": str(notice["text"])[:_MAX_TEXT]}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def delete_shown(response: Response) -> Response:
    """Delete the cookie of a notice that was shown."""
    if g.get("notice_shown"):
        delete_cookie(response, COOKIE)
    return response
