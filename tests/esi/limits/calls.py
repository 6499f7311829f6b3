"""Short calls of a limiter, for tests."""

from __future__ import annotations

from typing import Any

import pytest

from nomad_actors.esi import ROUTES, NotSent, Route
from nomad_actors.esi.limits import Limiter, Outcome, outcome_of

WALLET = ROUTES["/characters/{character_id}/wallet"]
NOTIFICATIONS = ROUTES["/characters/{character_id}/notifications"]
ORDERS = ROUTES["/characters/{character_id}/orders"]
ALL_OK = Outcome(spent=2, ok=True, token_ok=True)


def refused(limiter: Limiter, route: Route, character_id: int = 7, **options: Any) -> NotSent:
    """Return the error of a reservation, which must fail."""
    with pytest.raises(NotSent) as caught:
        limiter.reserve(route, character_id, **options)
    return caught.value


def send(limiter: Limiter, route: Route, outcome: Outcome = ALL_OK, *, character_id: int = 7, **options: Any) -> None:
    """Reserve room and settle it."""
    limiter.settle(limiter.reserve(route, character_id, **options), outcome)


def named(group: str, limit: str, **headers: int) -> Outcome:
    """Return the outcome of a response that names its rate group and that group's limit."""
    names = {"spent": "X-Ratelimit-Used", "remaining": "X-Ratelimit-Remaining"}
    given = {"X-Ratelimit-Group": group, "X-Ratelimit-Limit": limit}
    given |= {names[name]: str(value) for name, value in headers.items()}
    return outcome_of(200, given, limited="bucket:x", reason="r")
