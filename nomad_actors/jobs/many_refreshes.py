"""Refreshes of many routes of many characters, spread over time: those that are subscribed, or those of groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..esi import ROUTES, Route
from ..queues import NewJob
from ..queues.policy import Priority
from ..store import Character
from .esi_refresh import NAME, QUEUE, USER

#: Who requests them: not a user, so a share of each limit is left for users.
_OPERATOR = "operator"

#: A character and one of its routes.
Pair = tuple[Character, Route]


def pairs_of(characters: Sequence[Character], routes: Iterable[Route]) -> list[Pair]:
    """Return each route of each character whose scopes allow it; one character's are far apart."""
    return [(each, route) for route in routes for each in characters if each.scopes.issuperset(route.scopes)]


def subscribed_pairs(characters: Sequence[Character], subscribed: Iterable[tuple[int, str]]) -> list[Pair]:
    """Return the subscribed routes of these characters, as `store.route_status.read_subscribed` returns them."""
    by_id = {each.character_id: each for each in characters}
    found = [(by_id[number], ROUTES[name]) for number, name in subscribed if number in by_id and name in ROUTES]
    return [(each, route) for each, route in found if each.scopes.issuperset(route.scopes)]


def refresh_jobs(
    pairs: Sequence[Pair], *, spread_ms: int = 0, in_full: bool = False, requested_by: str
) -> list[NewJob]:
    """Return a job for each pair, evenly spread; it also subscribes to the route.

    Nothing is sent before CCP's freshness ends; after that the ETag is sent too, unless a wrong copy must be replaced
    (`in_full`).
    """
    return [
        NewJob(
            queue=QUEUE,
            job_type=NAME,
            data={
                "character_id": character.character_id,
                "user_id": character.user_id,
                "endpoint": route.name,
                "skip_cache": True,
                "requested_by": USER if in_full else _OPERATOR,
            },
            priority=Priority.NORMAL if spread_ms else Priority.HIGH,
            delay=number * spread_ms // len(pairs),
            requested_by=requested_by,
        )
        for number, (character, route) in enumerate(pairs)
    ]
