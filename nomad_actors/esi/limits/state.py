"""The limiter's state, for operators: brakes in force, the error limit, and buckets without room."""

from __future__ import annotations

import json
from typing import Any

import redis

from ...clock import Clock
from ...response_model import ResponseModel
from .brakes import REMEDIES
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
    #: How often it has stopped a request since it was set; the jobs of these wait.
    stopped: int
    #: What a person can do, if it does not end by itself.
    remedy: str | None


class Bucket(ResponseModel):
    """A bucket: its tokens spent and held, how many it has (0 if no response counted in it yet)."""

    name: str
    used: int
    held: int
    limit: int
    window_ms: int
    #: When it last had no room, if it had none recently.
    starved_ms: int | None


class LimitsState(ResponseModel):
    """All brakes in force, the errors that ESI still allows, buckets, and the requests under way."""

    brakes: list[BrakeState]
    errors_remaining: int
    errors_reset_ms: int
    #: Those that had no room recently, the latest first.
    starving: list[Bucket]
    #: Those of which half or more was used when they were last used, the fullest first.
    fullest: list[Bucket]
    under_way: int
    sso_under_way: int


def read_state(client: redis.Redis, clock: Clock, *, buckets: int = 100) -> LimitsState:
    """Return the state in two round trips; `buckets` is the most to return of each list.

    Raises `redis.RedisError`.
    """
    now_ms = clock.now_ms()
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(key("brakes"))
        pipe.hgetall(key("stopped"))
        pipe.hmget(key("errors"), "remaining", "reset")
        pipe.zrevrange(key("starving"), 0, buckets - 1, withscores=True)
        pipe.zrevrange(key("fullest"), 0, buckets - 1)
        for name in ("esi", "sso"):
            pipe.zcount(key("under_way", name), now_ms, "+inf")
        brakes, stopped, errors, starving, fullest, under_way, sso_under_way = pipe.execute()
    remaining, reset_ms = (int(float(value or 0)) for value in errors)
    starved = {name: int(score) for name, score in starving}
    found = _buckets(client, starved, fullest)
    return LimitsState(
        brakes=sorted(_in_force(brakes, stopped, now_ms), key=lambda brake: (":" in brake.name, brake.name)),
        errors_remaining=remaining if now_ms < reset_ms else _ERRORS,
        errors_reset_ms=reset_ms if now_ms < reset_ms else 0,
        starving=[found[name] for name in starved if name in found],
        fullest=[found[name] for name in fullest if name in found],
        under_way=under_way,
        sso_under_way=sso_under_way,
    )


def _in_force(brakes: dict[Any, Any], stopped: dict[Any, Any], now_ms: int) -> list[BrakeState]:
    found = []
    for name, text in brakes.items():
        fields = json.loads(text)
        brake = BrakeState(
            name=name,
            kind=fields["kind"],
            reason=fields["reason"],
            since_ms=int(fields["since_ms"]),
            until_ms=int(fields["until_ms"]),
            strikes=int(fields["strikes"]),
            probes=fields["probes"],
            stopped=int(stopped.get(name, 0)),
            remedy=REMEDIES.get(fields["kind"]),
        )
        if brake.probes or now_ms < brake.until_ms:
            found.append(brake)
    return found


def _buckets(client: redis.Redis, starved: dict[str, int], fullest: list[str]) -> dict[str, Bucket]:
    """Return buckets by name; those that nothing is in any more are left out."""
    names = list(starved | dict.fromkeys(fullest))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(key("bucket", name), "used", "held", "limit", "window")
        found = pipe.execute() if names else []
    return {
        name: Bucket(
            name=name,
            used=int(used or 0),
            held=int(held or 0),
            limit=int(limit or 0),
            window_ms=int(float(window)),
            starved_ms=starved.get(name),
        )
        for name, (used, held, limit, window) in zip(names, found, strict=True)
        if window is not None
    }
