"""One refresh at a time of a route of a character: others would send the same request, and pages would mix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from ..errors import NotSent
from ..routes import Route
from .keys import key
from .limiter import Limiter

#: Longer than one refresh: the wait for a token (45 s), a listing's step (20 s) and its last request (35 s). The same
#: job continues its own flight after its worker was killed.
_FLIGHT_MS = 130_000
#: When a job looks again whether the other one has finished.
_BUSY_SECONDS = 2.0
_TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""
_END = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"


@contextmanager
def flight(limiter: Limiter, route: Route, character_id: int, *, owner: str) -> Iterator[None]:
    """Let only `owner` (a job's id) refresh this route of this character meanwhile.

    Raises `NotSent` if somebody else is doing so.
    """
    name = key("flight", f"{character_id}:{route.name}")
    try:
        taken = limiter.client.eval(_TAKE, 1, name, owner, str(_FLIGHT_MS))
    except redis.RedisError as error:
        raise limiter.without_redis(error) from error
    if not taken:
        raise NotSent(
            f"another job is refreshing {route.name} of character {character_id}",
            cause="flight",
            retry_after_seconds=_BUSY_SECONDS,
        )
    try:
        yield
    finally:
        # If Redis does not answer, it expires.
        with suppress(redis.RedisError):
            limiter.client.eval(_END, 1, name, owner)
