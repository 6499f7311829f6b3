"""The ESI client: one request, or all pages of a listing as one consistent set."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import redis
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from ..clock import Clock
from ..metrics.definitions import ESI_REQUEST_SECONDS, ESI_REQUESTS, declare_esi_group, note_esi_error_limit
from .errors import SOON_SECONDS, EsiUnavailable, NotSent
from .limits import Limiter, Outcome, Reservation, outcome_of
from .limits.brakes import ESI, down, unanswered
from .limits.keys import key
from .listings import all_older, all_pages
from .refusals import is_sso_failure, raise_for
from .response import EsiResponse, fresh_seconds
from .routes import COMPATIBILITY_DATE, GROUPS, Route

#: ESI's own inner timeout is 10 s (CCP's incident report of 2025-02-26); ours must be longer.
TIMEOUTS_SECONDS = (5, 30)
POOL_SIZE = 32
#: CCP caches `/status` for 30 s; two more for clocks that differ.
STATUS_FRESH_MS = 32_000
_INTEGER = re.compile(r"[0-9]{1,9}")
_KINDS = {list: "list", dict: "document", float: "number"}


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
    """Requests routes of characters from ESI within its limits; thread-safe."""

    def __init__(
        self, http: requests.Session, *, base_url: str, user_agent: str, clock: Clock, limiter: Limiter
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._clock = clock
        self._limiter = limiter
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
        for_user: bool = False,
    ) -> EsiResponse:
        """Send one request; one `for_user` may use the share of the limits that the others leave.

        Raises `NotSent`, `EsiUnavailable` or `EsiRefused`.
        """
        headers = dict(self._headers)
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        if etag:
            headers["If-None-Match"] = etag
        reservation = self._reserve(route, character_id, for_user)
        response = self._send(reservation, route, character_id, headers, {**dict(route.query), **(query or {})})
        return self._read(route, response)

    def get_all(
        self,
        route: Route,
        *,
        character_id: int,
        access_token: str | None,
        etag: str | None = None,
        for_user: bool = False,
    ) -> EsiResponse:
        """Request a complete listing.

        Numbered pages form one consistent set; other listings are read down to the oldest row. Raises as `get`, and
        `EsiUnavailable` if the pages keep changing between requests or never end.
        """
        get = functools.partial(
            self.get, route, character_id=character_id, access_token=access_token, for_user=for_user
        )
        match route.paging:
            case "x-pages":
                return all_pages(route, get, etag)
            case "from_id":
                return all_older(route, get, etag, key="transaction_id", parameter="from_id")
            case "last_mail_id":
                return all_older(route, get, etag, key="mail_id", parameter="last_mail_id")
        return get(etag=etag)

    def _reserve(self, route: Route, character_id: int, for_user: bool) -> Reservation:
        reservation = self._limiter.reserve(route, character_id, for_user=for_user)
        if reservation.is_probe:
            self._probe(reservation)
        return reservation

    def _probe(self, reservation: Reservation) -> None:
        """Ask ESI whether it is back, on behalf of all requests that wait; raise `NotSent` if it is not."""
        etag, fresh_ms = self._last_status()
        if (wait_ms := fresh_ms - self._clock.now_ms()) > 0:
            # A 503 of one host or a 420, just after the last probe: CCP's caches would repeat what they said then.
            self._limiter.settle(reservation, Outcome(spent=0))
            reason = "nothing was sent: the last response of /status is still fresh"
            raise NotSent(reason, cause=ESI, retry_after_seconds=wait_ms / 1000)
        problem = self._problem(etag)
        if problem is None:
            self._limiter.lift(ESI)
            return
        self._limiter.settle(reservation, Outcome(spent=0, brake=down(problem)))
        raise NotSent(f"nothing was sent: {problem}", cause=ESI, retry_after_seconds=SOON_SECONDS)

    def _last_status(self) -> tuple[str | None, int]:
        """Return the ETag of the last `/status` by which ESI was open, for any process, and until when it is fresh."""
        with contextlib.suppress(redis.RedisError):
            if text := self._limiter.client.get(key("status")):
                fresh_ms, etag = str(text).split(" ", 1)
                return etag, min(int(fresh_ms), self._clock.now_ms() + STATUS_FRESH_MS)
        return None, 0

    def _save_status(self, etag: str | None) -> None:
        if etag:
            with contextlib.suppress(redis.RedisError):
                self._limiter.client.set(key("status"), f"{self._clock.now_ms() + STATUS_FRESH_MS} {etag}")

    def _problem(self, etag: str | None) -> str | None:
        """Return why `/status` says that the game server is not open, or None."""
        headers = {**self._headers, **({"If-None-Match": etag} if etag else {})}
        try:
            response = self._http.get(
                f"{self._base_url}/status", headers=headers, timeout=TIMEOUTS_SECONDS, allow_redirects=False
            )
            if etag and response.status_code == 304:
                self._save_status(etag)
                return None
            status = response.json() if response.status_code == 200 else None
        except requests.RequestException as error:
            return f"ESI did not answer for /status: {type(error).__name__}"
        if not isinstance(status, dict) or "players" not in status:
            return f"ESI answered {response.status_code} for /status"
        if status.get("vip") is True:
            return "the game server is starting, for CCP only"
        self._save_status(response.headers.get("ETag"))
        return None

    def _send(
        self,
        reservation: Reservation,
        route: Route,
        character_id: int,
        headers: Mapping[str, str],
        query: Mapping[str, str],
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
            message = f"ESI did not answer for {route.name}: {type(error).__name__}"
            no_connection = _is_unreachable(error)
            self._limiter.settle(reservation, unanswered(message, no_connection=no_connection))
            if no_connection:
                raise EsiUnavailable(message) from None
            raise EsiUnavailable(message) from None
        ESI_REQUEST_SECONDS.labels(route.group).observe(time.perf_counter() - began)
        ESI_REQUESTS.labels(route.group, str(response.status_code)).inc()
        remaining = response.headers.get("X-ESI-Error-Limit-Remain", "")
        if _INTEGER.fullmatch(remaining):
            note_esi_error_limit(int(remaining))
        reason = f"ESI answered {response.status_code} for {route.name}"
        outcome = outcome_of(response.status_code, response.headers, limited=reservation.limited, reason=reason)
        if is_sso_failure(response):
            outcome = replace(outcome, ok=False)
        self._limiter.settle(reservation, outcome)
        self._limiter.learn(reservation, response.headers)
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


def _is_unreachable(error: requests.RequestException) -> bool:
    """Return whether there was no connection at all; one that is cut may be the failure of one host."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, (NewConnectionError, ConnectTimeoutError))


def _pages(text: str | None) -> int:
    return max(1, int(text)) if text and _INTEGER.fullmatch(text) else 1


def _json(route: Route, response: requests.Response, request_id: str | None) -> Any:
    """Return the body, which may replace what is stored; raise `EsiUnavailable` for one that is not of this route."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        problem = "is not JSON"  # A proxy's page, or a truncated response.
    else:
        # JSON has one kind of number; in Python a truth value is one too.
        kinds = (float, int) if route.body is float else (route.body,)
        if type(body) in kinds and not (isinstance(body, dict) and "error" in body):
            return body
        problem = f"is of type {type(body).__name__}, and not a {_KINDS[route.body]}"
    raise EsiUnavailable(
        f"ESI's response for {route.name} {problem}", status=response.status_code, request_id=request_id
    )
