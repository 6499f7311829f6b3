"""A character and its routes as the API and `nomad characters` show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from ..esi import ROUTES, Route, dataset_of
from ..esi.limits import BrakeState
from ..logs.counted import counted
from ..response_model import ResponseModel
from ..store import route_status
from ..store.history.completeness import Completeness
from ..store.login_keys import ACTIVE
from ..store.route_status import CharacterStatus, Moment, RouteStatus
from .stale_routes import time_text, why_stale

#: The fields of a route whose names differ from those of its columns, or that may be missing.
_COLUMNS = {
    "last_attempt_ms": "attempted_ms",
    "last_success_ms": "synced_ms",
    "data_as_of_ms": "as_of_ms",
    "changed_ms": "changed_ms",
    "fresh_until_ms": "fresh_until_ms",
    "next_due_ms": "next_due_ms",
    "refused_until_ms": "refused_until_ms",
    "error": "error",
    "request_id": "request_id",
}


class CharacterSummary(ResponseModel):
    """One character with the numbers of its routes; times are ms since the epoch."""

    character_id: int
    user_id: int
    name: str
    state: str = Field(description="active, needs_login, or sold: kept for an earlier owner under a negative id")
    state_reason: str | None
    state_changed_ms: int
    offline_since_ms: int | None = Field(description="null if the player is online, or it is not known")
    needs_attention: bool = Field(
        description="SSO rejects its login, it must log in, or a route failed, is late or has rows set aside"
    )
    why: str | None = Field(description="what needs attention most: the login, else the worst route; null if nothing")
    routes: int = Field(description="routes that were ever requested")
    late: int = Field(description="subscribed routes whose refresh is overdue")
    failing: int = Field(description="routes whose last attempts failed")
    refused: int = Field(description="routes that ESI refuses or cannot answer, so that nothing is sent now")
    set_aside: int = Field(description="rows that could not be stored")
    last_success_ms: int | None
    overdue_endpoint: str | None = Field(description="the late route that is overdue for most of its own intervals")
    overdue_since_ms: int | None = Field(description="when that route was due")
    next_due_ms: int | None
    scopes: list[str]

    @classmethod
    def of(cls, found: CharacterStatus) -> CharacterSummary:
        """Return the summary of a character."""
        same = set(cls.model_fields) & set(CharacterStatus.__dataclass_fields__)
        own: dict[str, Any] = {
            "needs_attention": found.needs_attention,
            "why": _why(found),
            "last_success_ms": found.synced_ms,
            "overdue_endpoint": found.overdue_route,
            "scopes": sorted(found.scopes),
        }
        return cls.model_construct(**{name: getattr(found, name) for name in same} | own)


def _why(found: CharacterStatus) -> str | None:
    """Return what needs attention most: the login, a route that fails, one that is late, or rows set aside."""
    if found.state != ACTIVE:
        return found.state_reason
    if found.strikes:
        times = counted(found.strikes, "time")
        return f"SSO rejected its login {times}, last at {time_text(found.last_strike_ms)}; SSO is asked again"
    if found.failed_route is not None:
        times = f" ({found.failures} times in a row)" if found.failures > 1 else ""
        return f"{dataset_of(found.failed_route)}{times}: {found.error}"
    if found.overdue_route is not None:
        return f"{dataset_of(found.overdue_route)} is due since {time_text(found.overdue_since_ms)}"
    return f"{counted(found.set_aside, 'row')} of its documents could not be stored" if found.set_aside else None


class CharacterRoute(ResponseModel):
    """One route of a character; times are ms since the epoch, and null if it never happened."""

    endpoint: str
    dataset: str
    last_attempt_ms: int | None
    last_success_ms: int | None
    data_as_of_ms: int | None = Field(description="the time of ESI's data")
    changed_ms: int | None = Field(description="the last response that differed from the one before")
    fresh_until_ms: int | None = Field(description="CCP's freshness: nothing is sent before it ends")
    next_due_ms: int | None
    is_stale: bool
    why_stale: str | None = Field(description="why it is not current; null if it is")
    is_subscribed: bool = Field(description="it was requested within 30 days, so it is refreshed by itself")
    failures: int = Field(description="how many in a row")
    refusals: int = Field(description="how many in a row")
    refused_until_ms: int | None
    error: str | None = Field(description="why the last attempt did not succeed; null if it did")
    request_id: str | None = Field(description="ESI's id of the last request, which CCP finds it by")
    set_aside: int = Field(description="rows of the document that could not be stored")


class Refusal(ResponseModel):
    """One route of one character that ESI refuses or cannot answer; nothing is sent until then or a new login."""

    character_id: int
    endpoint: str
    until_ms: int
    refusals: int = Field(description="how many in a row")
    reason: str | None = Field(description="the error of the last one")
    request_id: str | None = Field(description="ESI's id of that request")

    @classmethod
    def of(cls, found: route_status.Refusal) -> Refusal:
        """Return a refusal as it is shown."""
        return cls.of_attributes(found, endpoint=found.route)


class HistorySummary(ResponseModel):
    """How complete one data type is: stored is every row from `completeSince` to `completeUntil`, except in holes."""

    complete_since: int | None = Field(description="null: never read completely")
    complete_until: int | None
    holes: int = Field(description="spans of time in which rows may be missing")
    can_be_filled: int = Field(description="those of them whose end ESI still shows")

    @classmethod
    def of(cls, found: Completeness) -> HistorySummary:
        """Return the summary of a data type."""
        return cls(
            complete_since=found.complete_since_ms,
            complete_until=found.complete_until_ms,
            holes=len(found.holes),
            can_be_filled=sum(hole.can_be_filled for hole in found.holes),
        )


class CharacterDetails(CharacterSummary):
    """One character with every route, and the scopes that its routes need and its login lacks."""

    missing_scopes: list[str]
    completeness: dict[str, HistorySummary] = Field(description="how complete the history is, by data type")
    endpoints: list[CharacterRoute]


def details_of(
    character: CharacterStatus,
    routes: Iterable[RouteStatus],
    completeness: Mapping[str, Completeness],
    brakes: Sequence[BrakeState],
    now: Moment,
) -> CharacterDetails:
    """Return a character with each route, also those that were never requested."""
    by_route = {each.route: each for each in routes}
    summary = CharacterSummary.of(character)
    needed = {scope for route in ROUTES.values() for scope in route.scopes}
    return CharacterDetails(
        **{name: getattr(summary, name) for name in CharacterSummary.model_fields},
        missing_scopes=sorted(needed - character.scopes),
        completeness={name: HistorySummary.of(each) for name, each in completeness.items()},
        endpoints=[_route(route, by_route.get(route.name), character, brakes, now) for route in ROUTES.values()],
    )


def _route(
    route: Route, status: RouteStatus | None, character: CharacterStatus, brakes: Sequence[BrakeState], now: Moment
) -> CharacterRoute:
    why = why_stale(route, status, character, brakes, now)
    # A route that was never requested has no status.
    fields: dict[str, Any] = {name: getattr(status, column, None) for name, column in _COLUMNS.items()}
    fields |= {name: getattr(status, name, 0) for name in ("failures", "refusals", "set_aside")}
    return CharacterRoute(
        endpoint=route.name,
        dataset=route.dataset,
        is_stale=why is not None,
        why_stale=why,
        is_subscribed=status is not None and (status.asked_ms or 0) >= now.subscribed_since_ms,
        **fields,
    )
