"""The ESI client: one request, or one step of a complete listing."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..clock import Clock
from ..errors import Unavailable
from ..logs import get_logger
from ..metrics.definitions import ESI_REQUEST_SECONDS, ESI_REQUESTS, declare_esi_group, note_esi_error_limit
from .checks import UNSTORABLE, Check, ListOf
from .errors import SOON_SECONDS, EsiUnavailable
from .inner_rows import pruned
from .limits import Limiter, Outcome, Reservation, outcome_of
from .limits.brakes import ESI, unanswered
from .listings import Copy, HeldPages, Listing
from .refusals import is_sso_failure, raise_for
from .response import EsiResponse, fresh_seconds, parse
from .routes import COMPATIBILITY_DATE, GROUPS, Route
from .server_status import ServerStatus
from .transport import Reply, Transport, Unanswered

#: After so many probes to which `/status` gave no usable response, a request is sent to find out if ESI works.
UNCLEAR_PROBES = 3
_INTEGER = re.compile(r"[0-9]{1,9}")

logger = get_logger("nomad_actors.esi.client")


class EsiClient:
    """Requests routes of characters from ESI within its limits; thread-safe."""

    def __init__(self, *, base_url: str, user_agent: str, clock: Clock, limiter: Limiter) -> None:
        self._clock = clock
        self._limiter = limiter
        headers = {
            "Accept": "application/json",
            "User-Agent": user_agent,
            "X-Compatibility-Date": COMPATIBILITY_DATE,
        }
        self._transport = Transport(base_url, headers)
        self._status = ServerStatus(self._transport, clock=clock, limiter=limiter)
        # META: what ESI says about itself.
        for group in (*GROUPS, "META"):
            declare_esi_group(group)

    def get(
        self,
        route: Route,
        *,
        character_id: int,
        access_token: str | None,
        etag: str | None = None,
        modified_since: str | None = None,
        query: Mapping[str, str] | None = None,
        for_user: bool = False,
    ) -> EsiResponse:
        """Send one request; one `for_user` may use the share of the limits that the others leave.

        With `etag`, or the `Last-Modified` of an earlier response as `modified_since`, the response may be a 304.

        Raises `NotSent`, `EsiUnavailable` or `EsiRefused`.
        """
        headers: dict[str, str] = {}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        if etag:
            headers["If-None-Match"] = etag
        if modified_since:
            headers["If-Modified-Since"] = modified_since
        reservation = self._reserve(route, character_id, for_user)
        return self._read(route, self._send(reservation, route, character_id, headers, query or {}))

    def get_all(
        self,
        route: Route,
        *,
        character_id: int,
        access_token: str | None,
        copy: Copy,
        held: HeldPages,
        for_user: bool = False,
    ) -> EsiResponse:
        """Request a complete listing, or what one step of at most half a minute can add to what is `held`.

        Numbered pages form one consistent set; other listings are read down to the oldest row. The response is a 304 if
        `copy` is still complete. Raises as `get`; `StepEnded` if the next step goes on; `ListingChanged` if the listing
        must be read anew.
        """
        get = functools.partial(
            self.get, route, character_id=character_id, access_token=access_token, for_user=for_user
        )
        listing = Listing(route, get, held, self._clock)
        match route.paging:
            case "x-pages":
                return listing.all_pages(copy)
            case "from_id":
                return listing.all_older(copy, key="transaction_id", parameter="from_id")
            case "last_mail_id":
                return listing.all_older(copy, key="mail_id", parameter="last_mail_id")
        return get(etag=copy.etag)

    def _reserve(self, route: Route, character_id: int, for_user: bool) -> Reservation:
        reservation = self._limiter.reserve(route, character_id, for_user=for_user)
        if reservation.is_probe:
            self._probe(reservation)
        return reservation

    def _probe(self, reservation: Reservation) -> None:
        """Ask ESI whether it is back, on behalf of all requests that wait; raise `NotSent` if it is not.

        If `/status` itself is broken it never answers: after three probes the request is sent as the probe.
        """
        if (fresh_for_ms := self._status.fresh_for_ms()) > 0:
            # Just after the last probe, a 503 of one host or a 420.
            self._limiter.settle(reservation, Outcome(spent=0))
            reason = "the last response of /status is still fresh"
            raise self._limiter.not_sent(reason, cause=ESI, wait_ms=fresh_for_ms)
        found = self._status.brake()
        if found is None:
            with contextlib.suppress(Unavailable):  # If it stays, the request's own response lifts it.
                self._limiter.lift(ESI)
            return
        if found.unclear and reservation.unclear_probes >= UNCLEAR_PROBES:
            logger.warning("/status does not say whether ESI is back: a request is sent to see", found=found.reason)
            return
        self._limiter.settle(reservation, Outcome(spent=0, brake=found))
        raise self._limiter.not_sent(found.reason, cause=ESI, wait_ms=SOON_SECONDS * 1000)

    def _send(
        self,
        reservation: Reservation,
        route: Route,
        character_id: int,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Reply:
        began = time.perf_counter()
        try:
            reply = self._transport.get(
                route.path(character_id), headers=headers, query={**dict(route.query), **query} or None
            )
        except Unanswered as error:
            ESI_REQUESTS.labels(route.group, "network").inc()
            message = f"ESI did not answer for {route.name}: {error}"
            self._limiter.settle(reservation, unanswered(message, no_connection=error.is_unreachable))
            raise EsiUnavailable(message) from None
        ESI_REQUEST_SECONDS.labels(route.group).observe(time.perf_counter() - began)
        ESI_REQUESTS.labels(route.group, str(reply.status)).inc()
        remaining = reply.headers.get("X-ESI-Error-Limit-Remain", "")
        if _INTEGER.fullmatch(remaining):
            note_esi_error_limit(int(remaining))
        reason = f"ESI answered {reply.status} for {route.name}"
        outcome = outcome_of(reply.status, reply.headers, limited=reservation.limited, reason=reason)
        if is_sso_failure(reply):
            outcome = replace(outcome, ok=False)
        self._limiter.settle(reservation, outcome)
        return reply

    def _read(self, route: Route, reply: Reply) -> EsiResponse:
        request_id = reply.headers.get("X-ESI-Request-ID")
        not_modified = reply.status == 304
        # A 304 to an unconditional request is an error: there is nothing that it could renew.
        if reply.status != 200 and not (not_modified and reply.is_conditional):
            raise_for(route, reply)
        return EsiResponse(
            status=reply.status,
            not_modified=not_modified,
            body=None if not_modified else _json(route, reply, request_id),
            etag=reply.headers.get("ETag"),
            last_modified=reply.headers.get("Last-Modified"),
            fresh_until_ms=self._clock.now_ms() + fresh_seconds(reply.headers, route) * 1000,
            pages=_pages(reply.headers.get("X-Pages")) if route.paging == "x-pages" else 1,
            request_id=request_id,
        )


def _pages(text: str | None) -> int:
    return int(text) if text and _INTEGER.fullmatch(text) else 0


def _json(route: Route, reply: Reply, request_id: str | None) -> Any:
    """Return the body if it is of the route's kind; raise `EsiUnavailable` if not. `sifted` examines its rows."""
    problem: str | None
    try:
        body = parse(reply.content)
    except (ValueError, RecursionError):
        problem = "it is not JSON"  # A proxy's page, or a truncated response.
    else:
        problem = None if isinstance(route.shape, ListOf) and type(body) is list else _problem(route.shape, body)
        is_error = isinstance(body, dict) and "error" in body
        if not is_error and (problem is None or problem.endswith(UNSTORABLE)):
            return body
        problem = problem or "it is an error"
    raise EsiUnavailable(
        f"ESI's response for {route.name} cannot be used: {problem}",
        status=reply.status,
        request_id=request_id,
    )


def _problem(shape: Check, body: Any) -> str | None:
    """Return what is wrong with an object, apart from single rows of lists in it."""
    problem = shape(body)
    return problem and shape(pruned(shape, body)[0])
