"""Asks ESI: one request, or all pages of a listing as one consistent set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import requests
from requests.adapters import HTTPAdapter

from ..clock import Clock
from ..metrics.definitions import ESI_REQUEST_SECONDS, ESI_REQUESTS, declare_esi_group
from .answer import Answer, fresh_seconds
from .errors import EsiLimited, EsiRefused, EsiUnavailable
from .routes import COMPATIBILITY_DATE, ROUTES, Route

#: ESI's own inner timeout is 10 s (CCP's incident report of 2025-02-26); ours must be longer.
TIMEOUTS_SECONDS = (5, 30)
POOL_SIZE = 32
#: How often a listing is begun anew because its pages were of different states.
SET_TRIES = 3
#: More pages than any character has; a listing without end is a fault.
MAX_PAGES = 1_000
#: How long to wait after a 429 without `Retry-After`: it comes from deep in the game server (esi-docs, rate limiting).
UNKNOWN_RETRY_SECONDS = 60.0
#: SSO trouble that ESI hides in a 403 (esi-issues #83, #324, #432, #1266, #1303).
_SSO_TROUBLE = ("unexpected end of json input", "sso responded with", "token expiry is too far in the future")


def http_session(user_agent: str) -> requests.Session:
    """Return the process' HTTP session; one is enough for all threads."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=POOL_SIZE)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    session.headers["User-Agent"] = user_agent
    # The environment's proxies and .netrc are for browsers; a token must go where the settings say.
    session.trust_env = False
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
        for group in {_rate_group(route) for route in ROUTES.values()}:
            declare_esi_group(group)

    def get(
        self,
        route: Route,
        *,
        character_id: int,
        access_token: str | None,
        etag: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
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

    def get_all(self, route: Route, *, character_id: int, access_token: str | None, etag: str | None = None) -> Answer:
        """Ask for a whole listing.

        Raises as `get`; `EsiUnavailable` too when its pages keep being of different states.
        """
        if route.paging == "x-pages":
            return self._all_pages(route, character_id, access_token, etag)
        if route.paging == "from_id":
            return self._all_older(route, character_id, access_token, etag)
        return self.get(route, character_id=character_id, access_token=access_token, etag=etag)

    def _all_pages(self, route: Route, character_id: int, token: str | None, etag: str | None) -> Answer:
        """Fetch every page; all must carry the same Last-Modified and number of pages, or the set is begun anew."""
        for _ in range(SET_TRIES):
            first = self.get(route, character_id=character_id, access_token=token, etag=etag)
            if first.not_modified:
                return first
            rows = list(first.body)
            for page in range(2, first.pages + 1):
                more = self.get(route, character_id=character_id, access_token=token, query={"page": str(page)})
                if (more.last_modified, more.pages) != (first.last_modified, first.pages):
                    break
                rows += more.body
            else:
                return replace(first, body=rows)
            # What changed in between has another validator; only the whole set is worth one.
            etag = None
        raise EsiUnavailable(f"the pages of {route.name} changed while they were read, {SET_TRIES} times")

    def _all_older(self, route: Route, character_id: int, token: str | None, etag: str | None) -> Answer:
        """Walk from the newest rows to the oldest; each answer begins with the row that was asked from."""
        first = self.get(route, character_id=character_id, access_token=token, etag=etag)
        if first.not_modified:
            return first
        rows = {row["transaction_id"]: row for row in first.body}
        pages, last = 1, first.body
        while last and pages < MAX_PAGES:
            oldest = min(row["transaction_id"] for row in last)
            more = self.get(route, character_id=character_id, access_token=token, query={"from_id": str(oldest)})
            last = [row for row in more.body if row["transaction_id"] not in rows]
            rows.update((row["transaction_id"], row) for row in last)
            pages += 1
        return replace(first, body=list(rows.values()), pages=pages)

    def _send(
        self, route: Route, character_id: int, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> requests.Response:
        group = _rate_group(route)
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
            ESI_REQUESTS.labels(group, "network").inc()
            raise EsiUnavailable(f"ESI did not answer for {route.name}: {type(error).__name__}") from error
        ESI_REQUEST_SECONDS.labels(group).observe(time.perf_counter() - began)
        ESI_REQUESTS.labels(group, str(response.status_code)).inc()
        return response

    def _answer(self, route: Route, response: requests.Response) -> Answer:
        request_id = response.headers.get("X-ESI-Request-ID")
        not_modified = response.status_code == 304
        if response.status_code not in (200, 304):
            _raise_for(route, response, request_id)
        return Answer(
            status=response.status_code,
            not_modified=not_modified,
            body=None if not_modified else _json(route, response, request_id),
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
            fresh_until_ms=self._clock.now_ms() + fresh_seconds(response.headers, route) * 1000,
            pages=_pages(response.headers.get("X-Pages")),
            request_id=request_id,
        )


def _rate_group(route: Route) -> str:
    return route.rate_group or "none"


def _pages(text: str | None) -> int:
    return min(int(text), MAX_PAGES) if text and text.isdigit() else 1


def _json(route: Route, response: requests.Response, request_id: str | None) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        # A proxy's page, or an answer that was cut short.
        raise EsiUnavailable(
            f"ESI's answer for {route.name} is no JSON", status=response.status_code, request_id=request_id
        ) from error


def _raise_for(route: Route, response: requests.Response, request_id: str | None) -> NoReturn:
    """Raise what an answer that is no data means; see esi-docs and the table of status codes there."""
    status, said = response.status_code, _said(response)
    message = f"ESI answered {status} for {route.name}: {said}"
    if status in (420, 429):
        raise EsiLimited(message, status=status, retry_after_seconds=_retry_after(response), request_id=request_id)
    hidden = status == 403 and any(words in said.lower() for words in (*_SSO_TROUBLE, "sso_status"))
    if status in (400, 401, 403, 404, 422) and not hidden:
        raise EsiRefused(message, status=status, request_id=request_id)
    raise EsiUnavailable(message, status=status, request_id=request_id)


def _said(response: requests.Response) -> str:
    """Return ESI's own words, cut; a page of HTML says nothing."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return "(no JSON)"
    if not isinstance(body, dict):
        return "(no error)"
    words = str(body.get("error", "(no error)"))[:300]
    return f"{words} (sso_status {body['sso_status']})" if "sso_status" in body else words


def _retry_after(response: requests.Response) -> float:
    for name in ("Retry-After", "X-ESI-Error-Limit-Reset"):
        text = response.headers.get(name, "")
        if text.isdigit():
            return float(text)
    return UNKNOWN_RETRY_SECONDS
