"""What an answer of ESI's that is no data means: which error it becomes, and how long to stay away."""

from __future__ import annotations

import re
from typing import NoReturn

import requests

from .errors import EsiLimited, EsiRefused, EsiUnavailable
from .response import retry_after_seconds
from .routes import Route

#: How long to wait after a 429 without `Retry-After`: it comes from deep in the game server (esi-docs, rate limiting).
UNKNOWN_RETRY_SECONDS = 60.0
_LIMITED = (420, 429)
_SECONDS = re.compile(r"[0-9]{1,9}")
_REFUSED = (400, 401, 403, 404, 422)
#: SSO trouble that ESI hides in a 403 (esi-issues #83, #324, #432, #1266, #1303).
_SSO_TROUBLE = ("sso_status", "unexpected end of json input", "sso responded with", "token expiry")


def raise_for(route: Route, response: requests.Response) -> NoReturn:
    """Raise what an answer means, in ESI's own words but never with the token that was sent.

    The classes are those of esi-docs and of the issues named here: a page of HTML comes from something before ESI, so
    it refuses nothing, and neither does a 403 that tells of SSO.
    """
    status, said = response.status_code, _said(response)
    request_id = response.headers.get("X-ESI-Request-ID")
    message = f"ESI answered {status} for {route.name}: {said}"
    seconds = _retry_after(response)
    if seconds is not None:
        raise EsiLimited(message, status=status, retry_after_seconds=seconds, request_id=request_id)
    sso_trouble = status == 403 and any(words in said.lower() for words in _SSO_TROUBLE)
    if status in _REFUSED and not sso_trouble and not _is_html(response):
        raise EsiRefused(message, status=status, request_id=request_id)
    raise EsiUnavailable(message, status=status, request_id=request_id)


def _is_html(response: requests.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower() or response.content.lstrip()[:1] == b"<"


def _said(response: requests.Response) -> str:
    """Return ESI's own words, cut; a page of HTML says nothing."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return "(no JSON)"
    if not isinstance(body, dict):
        return "(no error)"
    words = str(body.get("error", "(no error)"))
    token = str(response.request.headers.get("Authorization", "")).removeprefix("Bearer ")
    if token:
        words = words.replace(token, "(token)")
    return f"{words[:300]} (sso_status {body['sso_status']})" if "sso_status" in body else words[:300]


def _retry_after(response: requests.Response) -> float | None:
    """Return how long to stay away (s): by `Retry-After`, else by the old limiter's reset; None for no limit."""
    if response.status_code not in _LIMITED and response.status_code < 500:
        return None
    named = retry_after_seconds(response.headers)
    if named is not None or response.status_code >= 500:
        return named
    reset = response.headers.get("X-ESI-Error-Limit-Reset", "")
    return float(reset) if _SECONDS.fullmatch(reset) else UNKNOWN_RETRY_SECONDS
