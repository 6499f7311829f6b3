"""What was done, or why not, told on the page that follows a form; carried there by a cookie that lives a minute."""

from __future__ import annotations

import base64
import json
from typing import Any

from flask import Response, g, request

from ..access.forms import delete_cookie, set_cookie

COOKIE = "nomad_notice"
_LIFETIME_MS = 60_000
_MAX_TEXT = 600
#: Of what is written, before it is a third longer as base64: browsers leave a cookie of over 4 kB out.
_MAX_BYTES = 2_800


def leave(answer: Response, text: str, *, done: bool) -> None:
    """Leave a notice for the next page."""
    text = text[:_MAX_TEXT]
    while len(notice := _written(text, done)) > _MAX_BYTES:
        text = text[: len(text) * 3 // 4]
    set_cookie(answer, COOKIE, base64.urlsafe_b64encode(notice).decode(), lifetime_ms=_LIFETIME_MS)


def _written(text: str, done: bool) -> bytes:
    return json.dumps({"done": done, "text": text}, ensure_ascii=False).encode(errors="replace")


def shown() -> dict[str, Any] | None:
    """Return the notice that this page shows, which forgets it; None when there is none."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    g.notice_shown = True
    try:
        told = json.loads(base64.urlsafe_b64decode(cookie[:4000]))
        return {"done": told["done"] is True, "text": str(told["text"])[:_MAX_TEXT]}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def forget_shown(answer: Response) -> Response:
    """Take a notice away that was shown."""
    if g.get("notice_shown"):
        delete_cookie(answer, COOKIE)
    return answer
