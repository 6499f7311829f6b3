"""The limiter's state, for operators: brakes in force, the error limit, and buckets without room."""

from __future__ import annotations

import json
from typing import Any

import redis

from ...clock import Clock
from ...response_model import ResponseModel
from .keys import key

#: The size of ESI's error window (esi-docs, error limiting).
_ERRORS = 100


class BrakeState(ResponseModel):
    """A brake in force: nothing is sent to what `name` names until `until_ms`, and with `probes` until one succeeds."""

    name: str
    kind: str
    reason: str
    since_ms: int
    until_ms: int
    #: How many times in a row it was set.
    strikes: int
    #: Whether it stays in force after `until_ms` until one request succeeds.
    probes: bool


class Bucket(ResponseModel):
    """A bucket that had no room recently: its tokens spent and held, and when that was."""

    name: str
    used: int
    held: int
    window_ms: int
    starved_ms: int


class LimitsState(ResponseModel):
    """All brakes in force, the errors that ESI still allows, buckets without room, and the requests under way."""

    brakes: list[BrakeState]
    errors_remaining: int
    errors_reset_ms: int
    starving: list[Bucket]
    under_way: int
    sso_under_way: int


def read_state(client: redis.Redis, clock: Clock, *, starving: int = 100) -> LimitsState:
    """Return the state in two round trips; `starving` is the most buckets to return, the latest first.

    Raises `redis.RedisError`.
    """
    now_ms = clock.now_ms()
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(key("brakes"))
        pipe.hmget(key("errors"), "remaining", "reset")
        pipe.zrevrange(key("starving"), 0, starving - 1, withscores=True)
        for name in ("esi", "sso"):
            pipe.zcount(key("under_way", name), now_ms, "+inf")
        brakes, errors, names, under_way, sso_under_way = pipe.execute()
    remaining, reset_ms = (int(float(value or 0)) for value in errors)
    return LimitsState(
        brakes=sorted(_in_force(brakes, now_ms), key=lambda brake: (":" in brake.name, brake.name)),
        errors_remaining=remaining if now_ms < reset_ms else _ERRORS,
        errors_reset_ms=reset_ms if now_ms < reset_ms else 0,
        starving=_buckets(client, [(name, int(score)) for name, score in names]),
        under_way=under_way,
        sso_under_way=sso_under_way,
    )


def _in_force(brakes: dict[Any, Any], now_ms: int) -> list[BrakeState]:
    found = []
    for name, text in brakes.items():
        fields = json.loads(text)
        fields.pop("probe_until_ms", None)
        fields |= {each: int(fields[each]) for each in ("since_ms", "until_ms", "strikes")}
        brake = BrakeState(name=name, **fields)
        if brake.probes or now_ms < brake.until_ms:
            found.append(brake)
    return found


def _buckets(client: redis.Redis, names: list[tuple[str, int]]) -> list[Bucket]:
    with client.pipeline(transaction=False) as pipe:
        for name, _ in names:
            pipe.hmget(key("bucket", name), "used", "held", "window")
        found = pipe.execute() if names else []
    return [
        Bucket(name=name, used=int(used or 0), held=int(held or 0), window_ms=int(float(window)), starved_ms=at_ms)
        for (name, at_ms), (used, held, window) in zip(names, found, strict=True)
        if window is not None
    ]
