"""The ESI client: one request, or all pages of a listing as one consistent set."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ..clock import Clock
from ..metrics.definitions import ESI_REQUEST_SECONDS, ESI_REQUESTS, declare_esi_group, note_esi_error_limit
from .errors import EsiUnavailable
from .listings import all_older, all_pages
from .refusals import raise_for
from .response import EsiResponse, fresh_seconds
from .routes import COMPATIBILITY_DATE, GROUPS, Route

#: ESI's own inner timeout is 10 s (CCP's incident report of 2025-02-26); ours must be longer.
TIMEOUTS_SECONDS = (5, 30)
POOL_SIZE = 32
_INTEGER = re.compile(r"[0-9]{1,9}")


def http_session(user_agent: str) -> requests.Session:
    """Return an HTTP session; one per process is enough for all threads."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=POOL_SIZE)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    session.headers["User-Agent"] = user_agent
    # Ignore proxies and .netrc from the environment: a token must go only where the settings say.
    session.trust_env = False
    # All characters share the session: no cookie from one character's response may be sent with another's request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class EsiClient:
    """Requests routes of characters from ESI; thread-safe."""

    def __init__(self, http: requests.Session, *, base_url: str, user_agent: str, clock: Clock) -> None:
        self._http = http
        self._base_url = base_url
        self._clock = clock
        self._headers = {
            "Accept": "application/json",
            "User-Agent": user_agent,
            "X-Compatibility-Date": COMPATIBILITY_DATE,
        }
        for group in GROUPS:
            declare_esi_group(group)

    def get(
        self,
        route: Route,
        *,
        character_id: int,
        access_token: str | None,
        etag: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> EsiResponse:
        """Send one request.

        Raises `EsiUnavailable`, `EsiLimited` or `EsiRefused`.
        """
        headers = dict(self._headers)
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        if etag:
            headers["If-None-Match"] = etag
        response = self._send(route, character_id, headers, {**dict(route.query), **(query or {})})
        return self._read(route, response)

    def get_all(
        self, route: Route, *, character_id: int, access_token: str | None, etag: str | None = None
    ) -> EsiResponse:
        """Request a complete listing.

        Numbered pages form one consistent set; other listings are read down to the oldest row. Raises as `get`, and
        `EsiUnavailable` if the pages keep changing between requests or never end.
        """
        get = functools.partial(self.get, route, character_id=character_id, access_token=access_token)
        match route.paging:
            case "x-pages":
                return all_pages(route, get, etag)
            case "from_id":
                return all_older(route, get, etag, key="transaction_id", parameter="from_id")
            case "last_mail_id":
                return all_older(route, get, etag, key="mail_id", parameter="last_mail_id")
        return get(etag=etag)

    def _send(
        self, route: Route, character_id: int, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> requests.Response:
        began = time.perf_counter()
        try:
            response = self._http.get(
                self._base_url + route.path(character_id),
                headers=headers,
                params=query,
                timeout=TIMEOUTS_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            ESI_REQUESTS.labels(route.group, "network").inc()
            # The cause may quote the request, which contains the token.
            raise EsiUnavailable(f"ESI did not answer for {route.name}: {type(error).__name__}") from None
        ESI_REQUEST_SECONDS.labels(route.group).observe(time.perf_counter() - began)
        ESI_REQUESTS.labels(route.group, str(response.status_code)).inc()
        remaining = response.headers.get("X-ESI-Error-Limit-Remain", "")
        if _INTEGER.fullmatch(remaining):
            note_esi_error_limit(int(remaining))
        return response

    def _read(self, route: Route, response: requests.Response) -> EsiResponse:
        request_id = response.headers.get("X-ESI-Request-ID")
        not_modified = response.status_code == 304
        # A 304 to an unconditional request is an error: there is nothing that it could renew.
        is_conditional = "If-None-Match" in response.request.headers
        if response.status_code != 200 and not (not_modified and is_conditional):
            raise_for(route, response)
        return EsiResponse(
            status=response.status_code,
            not_modified=not_modified,
            body=None if not_modified else _json(route, response, request_id),
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
            fresh_until_ms=self._clock.now_ms() + fresh_seconds(response.headers, route) * 1000,
            pages=_pages(response.headers.get("X-Pages")),
            request_id=request_id,
        )


def _pages(text: str | None) -> int:
    return max(1, int(text)) if text and _INTEGER.fullmatch(text) else 1


def _json(route: Route, response: requests.Response, request_id: str | None) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        # A proxy's page, or a truncated response.
        raise EsiUnavailable(
            f"ESI's response for {route.name} is not JSON", status=response.status_code, request_id=request_id
        ) from error
