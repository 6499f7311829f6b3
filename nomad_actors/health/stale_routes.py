"""Why the data of one route of one character is not current, whatever the cause."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from .. import thresholds
from ..clock import Clock
from ..esi import ROUTES, Route
from ..esi.limits import BrakeState
from ..jobs.esi_refresh import SUBSCRIPTION_MS
from ..store.login_keys import ACTIVE
from ..store.logins import NEEDS_LOGIN
from ..store.route_status import CharacterStatus, Moment, RouteStatus

_DAY_MS = 86_400_000


def moment(clock: Clock) -> Moment:
    """Return the present, and what it makes of routes: late, subscribed."""
    now_ms = clock.now_ms()
    return Moment(
        now_ms=now_ms,
        late_before_ms=now_ms - thresholds.ESI.late_seconds * 1000,
        subscribed_since_ms=now_ms - SUBSCRIPTION_MS,
        intervals_ms={name: route.interval_seconds * 1000 for name, route in ROUTES.items()},
    )


def why_stale(
    route: Route, status: RouteStatus | None, character: CharacterStatus, brakes: Iterable[BrakeState], now: Moment
) -> str | None:
    """Return why the data of `route` is not current, or None if it is current: it has data, ESI does not refuse it, and
    its next refresh is not late.
    """
    is_refused = status is not None and (status.refused_until_ms or 0) > now.now_ms
    has_data = status is not None and status.synced_ms is not None
    is_due = status is None or status.next_due_ms < now.late_before_ms
    # Data that was requested again after its failure is current until its refresh is late.
    if has_data and not is_refused and not is_due:
        return None
    return (
        _login(route, character)
        or _refusal(status, now)
        or _not_polled(status, now)
        or _brake(route, character, brakes)
        or _attempt(status)
    )


def _login(route: Route, character: CharacterStatus) -> str | None:
    if character.state == NEEDS_LOGIN:
        return f"the player must log in again: {character.state_reason or 'the login does not work'}"
    if character.state != ACTIVE:
        return f"the character is {character.state}: nothing is requested for it"
    missing = [scope for scope in route.scopes if scope not in character.scopes]
    return f"the login lacks the scope {', '.join(missing)}: the player must log in with it" if missing else None


def _refusal(status: RouteStatus | None, now: Moment) -> str | None:
    if status is None or (status.refused_until_ms or 0) <= now.now_ms:
        return None
    return f"nothing is sent until {time_text(status.refused_until_ms)}, because of ESI's last answer: {status.error}"


def _brake(route: Route, character: CharacterStatus, brakes: Iterable[BrakeState]) -> str | None:
    names = {"esi", f"route:{route.name}"}
    if route.scopes:
        names |= {"sso", "tokens", f"character:{character.character_id}"}
    for brake in brakes:
        is_its_bucket = brake.name == f"bucket:{route.rate_group}" or (
            brake.name.startswith(f"bucket:{route.rate_group}:") and brake.name.endswith(f":{character.character_id}")
        )
        if brake.name in names or is_its_bucket:
            until = f"until {time_text(brake.until_ms)}{', then until a request succeeds' if brake.probes else ''}"
            if brake.is_probing:
                until = f"until a request succeeds, tried since {time_text(brake.until_ms)}"
            return f"brake {brake.name} {until}: {brake.reason}"
    return None


def _not_polled(status: RouteStatus | None, now: Moment) -> str | None:
    if status is None:
        return "nobody has requested it yet"
    if status.asked_ms is not None and status.asked_ms >= now.subscribed_since_ms:
        return None
    return f"nobody has requested it for {SUBSCRIPTION_MS // _DAY_MS} days, so it is not polled"


def _attempt(status: RouteStatus | None) -> str:
    assert status is not None
    since = f"due since {time_text(status.next_due_ms)}"
    if status.error is not None:
        times = f", {status.failures} times in a row" if status.failures > 1 else ""
        return f"{since}; the last attempt, at {time_text(status.attempted_ms)}, did not succeed{times}: {status.error}"
    if status.attempted_ms is None:
        return f"{since}; not attempted yet: its job waits, or is deferred (nomad queues)"
    return f"{since}; no attempt since {time_text(status.attempted_ms)}: its job waits, or is deferred (nomad queues)"


def time_text(ms: int | None) -> str:
    """Return an instant as the reasons show it."""
    return "?" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
