"""Classification of ESI's error responses: which exception to raise, and when to retry."""

from __future__ import annotations

import re
from typing import NoReturn

from .errors import SOON_SECONDS, EsiRefused, EsiUnavailable, TokenUnchecked
from .response import longest_wait_seconds, parse, retry_after_seconds
from .routes import Route
from .transport import Reply

#: The wait after a 429 without `Retry-After`, which comes from inside the game server (esi-docs, rate limiting).
UNKNOWN_RETRY_SECONDS = 60.0
_LIMITED = (420, 429)
_SECONDS = re.compile(r"[0-9]{1,9}")
_REFUSED = (400, 401, 403, 404, 422)
#: Texts of SSO failures that ESI returns as a 403 (esi-issues #83, #324, #432, #1266, #1303).
_SSO_FAILURES = ("sso_status", "unexpected end of json input", "sso responded with", "token expiry")


def raise_for(route: Route, reply: Reply) -> NoReturn:
    """Raise the error of a response, with ESI's message but never with the token that was sent.

    The classification follows esi-docs and the issues named above: an HTML page comes from a proxy in front of ESI, so
    it is not a refusal by ESI, and neither is a 403 that reports an SSO failure.
    """
    status, text = reply.status, _error_text(reply)
    request_id = reply.headers.get("X-ESI-Request-ID")
    message = f"ESI answered {status} for {route.name}: {text}"
    seconds = _retry_after(reply)
    if is_sso_failure(reply):
        raise TokenUnchecked(message, status=status, request_id=request_id)
    if seconds is None and status in _REFUSED and not _is_html(reply):
        raise EsiRefused(message, status=status, request_id=request_id)
    raise EsiUnavailable(
        message,
        status=status,
        request_id=request_id,
        retry_after_seconds=SOON_SECONDS if seconds is None else seconds,
    )


def is_sso_failure(reply: Reply) -> bool:
    """Return whether a 403 means that ESI could not check the token, and nothing about permission."""
    return reply.status == 403 and any(
        each in reply.content[:2000].decode(errors="replace").lower() for each in _SSO_FAILURES
    )


def _is_html(reply: Reply) -> bool:
    return "html" in reply.headers.get("Content-Type", "").lower() or reply.content.lstrip()[:1] == b"<"


def _error_text(reply: Reply) -> str:
    """Return ESI's error message, cut and without the token."""
    try:
        body = parse(reply.content)
    except (ValueError, RecursionError):
        return "(no JSON)"
    if not isinstance(body, dict):
        return "(no error)"
    # The database takes neither half of a surrogate pair nor a NUL.
    text = str(body.get("error", "(no error)")).encode("utf-8", "replace").decode().replace("\0", "")
    if reply.token:
        text = text.replace(reply.token, "(token)")
    return f"{text[:300]} (sso_status {body['sso_status']})" if "sso_status" in body else text[:300]


def _retry_after(reply: Reply) -> float | None:
    """Return when to retry (s): from `Retry-After`, or from the old error limit's reset; None without a limit."""
    if reply.status not in _LIMITED and reply.status < 500:
        return None
    seconds = retry_after_seconds(reply.status, reply.headers)
    if seconds is not None or reply.status >= 500:
        return seconds
    reset = reply.headers.get("X-ESI-Error-Limit-Reset", "")
    if not _SECONDS.fullmatch(reset):
        return UNKNOWN_RETRY_SECONDS
    return min(float(reset), longest_wait_seconds(reply.status))
