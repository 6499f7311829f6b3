"""Faults by name: what ESI and SSO have really answered, as data.

A kind is a set of fields of `faults.Fault`; texts and statuses are those that clients of ESI and SSO have met.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: What `alter` may name; `alterations.py` has the functions.
ALTERATIONS: Final = (
    *("null", "empty-string", "error-object", "empty-body", "no-content", "html", "truncated", "cut"),
    *("empty-list", "mixed-page", "no-x-pages", "more-pages"),
)
#: What `token` may name; `token_variations.py` has the functions.
TOKENS: Final = (
    *("no-owner", "other-owner", "iss-bare", "iss-https", "iss-slash", "iss-wrong", "unknown-kid", "exp-past"),
    *("exp-text", "hs256", "es256", "aud-other", "aud-text", "sub-other"),
)
TOKEN_PATH: Final = "/v2/oauth/token"
HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def _error(status: int, error: str, **more: object) -> dict[str, object]:
    return {"status": status, "body": {"error": error, **more}}


def _sso(status: int, error: str, description: str) -> dict[str, object]:
    return {"path": TOKEN_PATH, "status": status, "body": {"error": error, "error_description": description}}


#: The strings that mean a dead login, by kind: `error` and `error_description`.
DEAD_LOGINS: Final[Mapping[str, tuple[str, str]]] = {
    "dead-grant": ("invalid_grant", "Invalid refresh token. Character grant missing/expired."),
    "dead-token": ("invalid_grant", "Invalid refresh token. Token missing/expired."),
    "dead-migration": ("invalid_grant", "Invalid refresh token. Unable to migrate grant."),
    "dead-expired": ("invalid_token", "The refresh token is expired."),
    "dead-client": ("invalid_token", "The refresh token does not match the client specified."),
}

KINDS: Final[Mapping[str, dict[str, object]]] = {
    # ESI: limiters without headers, slow and broken answers.
    "hidden-429": {**_error(429, "Rate limit exceeded"), "bare": True},
    "429": {**_error(429, "Rate limit exceeded"), "headers": {"Retry-After": "30"}},
    "throttled": _error(520, "ConStopSpamming, details: {'remainingTime': 60000000}"),
    "hang": {**_error(504, "Timeout contacting tranquility", timeout=10), "hang_s": 10},
    "no-reply": {**_error(502, "No reply within 10 seconds"), "hang_s": 10},
    "unhandled": _error(500, "Unhandled internal error encountered!"),
    "bad-gateway": {"status": 502, "body": HTML},
    "unavailable": _error(503, "The datasource tranquility is temporarily unavailable"),
    "dropped": {"drop": True},
    "lost": {"drop": True, "after": True},
    # ESI: refusals, real ones and SSO's trouble in disguise.
    "unauthorized": _error(401, "token is not valid"),
    "forbidden": _error(403, "Forbidden"),
    "not-found": _error(404, "Not found"),
    "sso-status": _error(403, "unexpected end of JSON input", sso_status=401),
    "sso-responded": _error(403, "SSO responded with a 502: Bad Gateway", sso_status=502),
    "sso-too-far": _error(403, "token expiry is too far in the future", sso_status=200),
    # ESI: bodies that must not replace anything; the headers are the route's, the ETag too.
    **{name: {"alter": name} for name in ALTERATIONS},
    # A listing whose pages are of two times: of one page only, or of all from this request on.
    "turnover": {"renew": True},
    # SSO: dead logins, our fault, weather.
    **{name: _sso(400, error, description) for name, (error, description) in DEAD_LOGINS.items()},
    "invalid-client": _sso(401, "invalid_client", "Client authentication failed."),
    "grant-type": _sso(400, "invalid_grant", "Grant type refresh_token is not supported."),
    "invalid-scope": _sso(400, "invalid_scope", "The requested scope is invalid, unknown, or malformed."),
    "sso-unknown-400": _sso(400, "invalid_request", "Something that nobody has seen before."),
    "sso-500": _sso(500, "server_error", "An error has occurred."),
    "sso-html": {"path": TOKEN_PATH, "status": 502, "body": HTML},
    "sso-hang": {**_sso(504, "server_error", "The upstream did not answer."), "hang_s": 30},
    "sso-dropped": {"path": TOKEN_PATH, "drop": True},
    "sso-lost": {"path": TOKEN_PATH, "drop": True, "after": True},
    "sso-no-token": {"path": TOKEN_PATH, "status": 200, "body": {"token_type": "Bearer", "expires_in": 1199}},
    "jwks-503": {"path": "/oauth/jwks", "status": 503, "body": HTML.replace("502 Bad Gateway", "503 Unavailable")},
    # SSO: an access token that must be checked before it is believed, in an answer that rotates.
    **{f"token-{name}": {"path": TOKEN_PATH, "token": name} for name in TOKENS},
}
