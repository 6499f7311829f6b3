"""Asks ESI: one request, or all pages of a listing as one consistent set."""

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
_WHOLE = re.compile(r"[0-9]{1,9}")


def http_session(user_agent: str) -> requests.Session:
    """Return the process' HTTP session; one is enough for all threads."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=POOL_SIZE)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    session.headers["User-Agent"] = user_agent
    # The environment's proxies and .netrc are for browsers; a token must go where the settings say.
    session.trust_env = False
    # One session serves all characters: nothing that one answer set may go with another's request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class EsiClient:
    """Asks ESI for routes of characters; safe to share between threads."""

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
        """Ask once.

        Raises `EsiUnavailable`, `EsiLimited` or `EsiRefused`.
        """
        headers = dict(self._headers)
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        if etag:
            headers["If-None-Match"] = etag
        response = self._send(route, character_id, headers, {**dict(route.query), **(query or {})})
        return self._answer(route, response)

    def get_all(
        self, route: Route, *, character_id: int, access_token: str | None, etag: str | None = None
    ) -> EsiResponse:
        """Ask for a whole listing.

        Numbered pages are one consistent set; the others are walked down to the oldest row. Raises as `get`;
        `EsiUnavailable` too when the pages keep being of different states, or have no end.
        """
        ask = functools.partial(self.get, route, character_id=character_id, access_token=access_token)
        match route.paging:
            case "x-pages":
                return all_pages(route, ask, etag)
            case "from_id":
                return all_older(route, ask, etag, key="transaction_id", parameter="from_id")
            case "last_mail_id":
                return all_older(route, ask, etag, key="mail_id", parameter="last_mail_id")
        return ask(etag=etag)

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
            # The cause may quote what was sent, and that holds the token.
            raise EsiUnavailable(f"ESI did not answer for {route.name}: {type(error).__name__}") from None
        ESI_REQUEST_SECONDS.labels(route.group).observe(time.perf_counter() - began)
        ESI_REQUESTS.labels(route.group, str(response.status_code)).inc()
        remaining = response.headers.get("X-ESI-Error-Limit-Remain", "")
        if _WHOLE.fullmatch(remaining):
            note_esi_error_limit(int(remaining))
        return response

    def _answer(self, route: Route, response: requests.Response) -> EsiResponse:
        request_id = response.headers.get("X-ESI-Request-ID")
        not_modified = response.status_code == 304
        # A 304 to nobody's question leaves us with nothing to renew.
        asked_to_compare = "If-None-Match" in response.request.headers
        if response.status_code != 200 and not (not_modified and asked_to_compare):
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
    return max(1, int(text)) if text and _WHOLE.fullmatch(text) else 1


def _json(route: Route, response: requests.Response, request_id: str | None) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        # A proxy's page, or an answer that was cut short.
        raise EsiUnavailable(
            f"ESI's answer for {route.name} is no JSON", status=response.status_code, request_id=request_id
        ) from error
