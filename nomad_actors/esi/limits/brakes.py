"""What a response means for later requests: which brake it sets, and what it counts for.

The rules are CCP's (esi-docs, rate limiting; the error limit's announcement) and, where CCP says nothing, what clients
have observed; see docs/esi.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ..response import longest_wait_seconds, retry_after_seconds
from .rate_groups import RateGroup, named_in

#: The names of the brakes for everything.
ESI, SSO = "esi", "sso"
#: For requests with a token, while ESI cannot check tokens.
TOKENS = "tokens"


class BrakeKind(StrEnum):
    """Why a brake was set; also the label of its metric. The scripts have them as `KIND.DOWNTIME` and so on."""

    ERROR_LIMIT = "error limit"
    DOWN = "down"
    #: Set by a script, at the time of the daily downtime.
    DOWNTIME = "downtime"
    RATE_LIMIT = "rate limit"
    ROUTE = "route"
    #: ESI cannot check tokens.
    UNCHECKED = "unchecked"
    #: ESI rejects the fresh token of one character.
    REJECTED = "rejected"
    #: SSO refuses this application: only a person can end that.
    REFUSED = "refused"


#: By the kind of a brake: what a person can do about it. The others end by themselves.
REMEDIES = {
    BrakeKind.REFUSED: "correct EVE_CLIENT_ID and EVE_CLIENT_SECRET and restart the workers; it then ends within ten "
    "minutes, or at once with nomad esi lift sso",
    BrakeKind.REJECTED: "ESI rejects this character's fresh tokens: if that lasts, the player must log in again",
}
#: A 429 without `Retry-After` comes from inside the game server; the wait doubles with each further one.
HIDDEN_429_MS, HIDDEN_429_MAX_MS = 60_000, 900_000
#: The first probe comes soon: a single 503 may be the failure of one host.
PROBE_MS, PROBE_MAX_MS = 5_000, 60_000
#: A route that fails for this many characters, with no success between, has a problem of its own.
FAILING_CHARACTERS = 5
#: The first pause of a character whose fresh token ESI rejected with 401.
REJECTED_MS = 600_000
#: ESI's error window is 60 s; for a 420 without `X-ESI-Error-Limit-Reset`.
ERROR_WINDOW_MS = 60_000
#: Tokens by the first digit of a status (esi-docs, rate limiting); a 429 takes none.
_TOKENS = {2: 2, 3: 1, 4: 5, 5: 0}
#: The most tokens that a request can take: also what is reserved, and counted when nobody knows.
WORST_TOKENS = 5
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class Brake:
    """A brake to set: for a known time, or for one that doubles with each failure."""

    name: str
    kind: BrakeKind
    reason: str
    for_ms: int | None = None
    base_ms: int = 0
    max_ms: int = 0
    #: Whether one request must succeed before the others may follow.
    probes: bool = False
    #: Whether a probe could not tell if the service is back.
    unclear: bool = False

    def request(self) -> dict[str, Any]:
        """Return the brake in the form that the scripts read."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        # Texts of ESI and SSO may contain what Redis' JSON does not take.
        return fields | {"reason": self.reason.encode("utf-8", "replace").decode()[:300]}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one response counts for."""

    #: Tokens that it took from the bucket.
    spent: int
    #: The rate group that the response named, with its limit.
    group: RateGroup | None = None
    #: ESI's own count of the tokens that remain, if it said so.
    remaining: int | None = None
    is_error: bool = False
    error_remaining: int | None = None
    error_reset_ms: int = 0
    #: ESI answered the request itself, if only with a refusal, so it works.
    ok: bool = False
    #: ESI took the access token.
    token_ok: bool = False
    brake: Brake | None = None
    #: The route failed for this character; for many at once it is braked.
    route_failed: bool = False


def unanswered(reason: str, *, no_connection: bool) -> Outcome:
    """Return the outcome of a request without a response: there was no connection, or it took too long."""
    brake = down(reason) if no_connection else None
    return Outcome(spent=WORST_TOKENS, is_error=True, brake=brake, route_failed=not no_connection)


def outcome_of(status: int, headers: Mapping[str, str], *, limited: str, reason: str) -> Outcome:
    """Return what a response counts for; a 429 brakes `limited`, and `reason` is what operators read about a brake."""
    tokens = 0 if status == 429 else _TOKENS.get(status // 100, WORST_TOKENS)
    used, remaining = _number(headers, "X-Ratelimit-Used"), _number(headers, "X-Ratelimit-Remaining")
    reset = _number(headers, "X-ESI-Error-Limit-Reset")
    return Outcome(
        spent=tokens if used is None else used,
        group=named_in(headers),
        remaining=remaining,
        is_error=status >= 400,
        error_remaining=None if reset is None else _number(headers, "X-ESI-Error-Limit-Remain"),
        error_reset_ms=min((reset or 0) * 1000, ERROR_WINDOW_MS + 1000),
        ok=status < 400 or status in (400, 401, 403, 404, 422),
        token_ok=status < 400 or status in (400, 404, 422),
        brake=_brake(status, headers, limited, reason),
        route_failed=status == 404 or (status >= 500 and status != 503),
    )


def _brake(status: int, headers: Mapping[str, str], limited: str, reason: str) -> Brake | None:
    retry, longest_ms = retry_after_seconds(status, headers), int(longest_wait_seconds(status) * 1000)
    if status == 420:
        reset = _number(headers, "X-ESI-Error-Limit-Reset")
        wait_ms = ERROR_WINDOW_MS if reset is None else (reset + 1) * 1000
        for_ms = min(max(wait_ms, int((retry or 0) * 1000)), longest_ms)
        return Brake(name=ESI, kind=BrakeKind.ERROR_LIMIT, reason=reason, for_ms=for_ms, probes=True)
    if status in (429, 520):
        limit = Brake(
            name=limited, kind=BrakeKind.RATE_LIMIT, reason=reason, base_ms=HIDDEN_429_MS, max_ms=HIDDEN_429_MAX_MS
        )
        return limit if retry is None else replace(limit, for_ms=min(int(retry * 1000) + 1000, longest_ms))
    if status == 503:
        return replace(down(reason), for_ms=None if retry is None else _probe_ms(retry))
    return None


def _probe_ms(retry_after_seconds: float) -> int:
    """Return how long a service that is down is left alone, by what it says itself."""
    return int(max(retry_after_seconds * 1000, PROBE_MS))


def down(reason: str, *, unclear: bool = False) -> Brake:
    """Return the brake on everything while ESI or the game server is down, or a probe could not tell."""
    return Brake(
        name=ESI,
        kind=BrakeKind.DOWN,
        reason=reason,
        base_ms=PROBE_MS,
        max_ms=PROBE_MAX_MS,
        probes=True,
        unclear=unclear,
    )


def failing(route: str) -> Brake:
    """Return the brake on a route that fails for many characters."""
    reason = f"{route} fails for many characters"
    return Brake(
        name=f"route:{route}", kind=BrakeKind.ROUTE, reason=reason, base_ms=120_000, max_ms=3_600_000, probes=True
    )


def unchecked(reason: str) -> Brake:
    """Return the brake on requests with a token while ESI cannot check tokens."""
    return Brake(name=TOKENS, kind=BrakeKind.UNCHECKED, reason=reason, base_ms=10_000, max_ms=PROBE_MAX_MS, probes=True)


def rejected(character_id: int, reason: str) -> Brake:
    """Return the brake on a character whose fresh access token ESI rejects."""
    name = f"character:{character_id}"
    return Brake(name=name, kind=BrakeKind.REJECTED, reason=reason, base_ms=REJECTED_MS, max_ms=86_400_000, probes=True)


def sso_down(reason: str, *, retry_after_seconds: float | None) -> Brake:
    """Return the brake on all refreshes while SSO is down, or its tokens cannot be validated."""
    for_ms = None if retry_after_seconds is None else _probe_ms(retry_after_seconds)
    return Brake(
        name=SSO, kind=BrakeKind.DOWN, reason=reason, for_ms=for_ms, base_ms=PROBE_MS, max_ms=PROBE_MAX_MS, probes=True
    )


def sso_refuses_us(reason: str) -> Brake:
    """Return the brake on all refreshes while SSO refuses this application."""
    return Brake(name=SSO, kind=BrakeKind.REFUSED, reason=reason, base_ms=30_000, max_ms=600_000, probes=True)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None
