"""The limiter's state, for operators: brakes in force, the error limit, and buckets that are spent or nearly."""

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
#: A bucket's slots (lib.lua).
_SLOTS = 60
#: Buckets that no request met for this long have returned most of their tokens: CCP's windows have 15 minutes.
_LATELY_MS = 900_000
_BUSY_SHARE = 0.5


class BrakeState(ResponseModel):
    """A brake in force: nothing is sent to what `name` names until `until_ms`, and with `probes` until one succeeds."""

    name: str
    #: What it stops, in words.
    stops: str
    kind: str
    reason: str
    since_ms: int
    #: With `is_probing` in the past.
    until_ms: int
    #: Its time is over, and one request at a time finds out whether it may end.
    is_probing: bool
    #: How many times in a row it was set.
    strikes: int
    #: Whether it stays in force after `until_ms` until one request succeeds.
    probes: bool
    #: How often it has stopped a request since it was set; the jobs of these wait.
    stopped: int
    #: What a person can do, if it does not end by itself.
    remedy: str | None


class Bucket(ResponseModel):
    """A bucket: tokens spent and held, its limit (0 if no response counted in it yet), and the share in use."""

    name: str
    group: str
    used: int
    held: int
    limit: int
    share: float
    window_ms: int
    #: When it last had no room, if it had none recently.
    starved_ms: int | None


class LimitsState(ResponseModel):
    """All brakes in force, the errors that ESI still allows, buckets without room, and the requests under way."""

    brakes: list[BrakeState]
    errors_remaining: int
    errors_reset_ms: int
    #: Those that had no room recently, the latest first.
    starving: list[Bucket]
    #: Those of which half or more is in use, the fullest first.
    busy: list[Bucket]
    under_way: int
    concurrency: int
    sso_under_way: int
    sso_concurrency: int


def read_state(
    client: redis.Redis, clock: Clock, *, concurrency: int, sso_concurrency: int, buckets: int = 200
) -> LimitsState:
    """Return the state in two round trips; `buckets` is the most buckets to return of each kind.

    Raises `redis.RedisError`.
    """
    now_ms = clock.now_ms()
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(key("brakes"))
        pipe.hgetall(key("stopped"))
        pipe.hmget(key("errors"), "remaining", "reset")
        pipe.zrevrangebyscore(key("starving"), "+inf", now_ms - _LATELY_MS, start=0, num=buckets, withscores=True)
        pipe.zrevrange(key("fullest"), 0, buckets - 1)
        for name in ("esi", "sso"):
            pipe.zcount(key("under_way", name), now_ms, "+inf")
        brakes, stopped, errors, starving, fullest, under_way, sso_under_way = pipe.execute()
    remaining, reset_ms = (int(float(value or 0)) for value in errors)
    starved = {name: int(score) for name, score in starving}
    found = _buckets(client, starved, fullest, now_ms)
    busy = [found[name] for name in fullest if name in found and found[name].share >= _BUSY_SHARE]
    return LimitsState(
        brakes=sorted(_in_force(brakes, stopped, now_ms), key=lambda brake: (":" in brake.name, brake.name)),
        errors_remaining=remaining if now_ms < reset_ms else _ERRORS,
        errors_reset_ms=reset_ms if now_ms < reset_ms else 0,
        starving=[found[name] for name in starved if name in found],
        busy=sorted(busy, key=lambda bucket: -bucket.share),
        under_way=under_way,
        concurrency=concurrency,
        sso_under_way=sso_under_way,
        sso_concurrency=sso_concurrency,
    )


def _in_force(brakes: dict[Any, Any], stopped: dict[Any, Any], now_ms: int) -> list[BrakeState]:
    found = []
    for name, text in brakes.items():
        fields = json.loads(text)
        brake = BrakeState(
            name=name,
            stops=_stopped_by(name),
            kind=fields["kind"],
            reason=fields["reason"],
            since_ms=int(fields["since_ms"]),
            until_ms=int(fields["until_ms"]),
            is_probing=fields["probes"] and now_ms >= int(fields["until_ms"]),
            strikes=int(fields["strikes"]),
            probes=fields["probes"],
            stopped=int(stopped.get(name, 0)),
            remedy=REMEDIES.get(fields["kind"]),
        )
        if brake.probes or now_ms < brake.until_ms:
            found.append(brake)
    return found


def _stopped_by(name: str) -> str:
    """Return what a brake stops."""
    kind, _, what = name.partition(":")
    match kind:
        case "bucket":
            group, _, owner = what.split(":")[0], *what.rpartition(":")[1:]
            whose = "every character" if owner == "address" else f"character {owner}"
            return f"rate group {group} of {whose}"
        case "character":
            return "requests with its token"
        case "route":
            return "this route of every character"
    return {"esi": "everything to ESI", "sso": "every token refresh"}.get(kind, "every request with a token")


def _buckets(client: redis.Redis, starved: dict[str, int], fullest: list[str], now_ms: int) -> dict[str, Bucket]:
    """Return buckets by name; those that nothing is in any more are left out."""
    names = list(starved | dict.fromkeys(fullest))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(key("bucket", name))
        found = pipe.execute() if names else []
    return {
        name: _bucket(name, fields, starved.get(name), now_ms)
        for name, fields in zip(names, found, strict=True)
        if "window" in fields
    }


def _bucket(name: str, fields: dict[str, str], starved_ms: int | None, now_ms: int) -> Bucket:
    window_ms, held, limit = (int(float(fields.get(each, 0))) for each in ("window", "held", "limit"))
    # `used` is of the last request; slots that have returned since then do not count.
    oldest = now_ms // (window_ms / _SLOTS) - _SLOTS
    used = sum(int(float(spent)) for slot, spent in fields.items() if slot.isdigit() and int(slot) >= oldest)
    return Bucket(
        name=name,
        group=name.partition(":")[0],
        used=used,
        held=held,
        limit=limit,
        share=round((used + held) / limit, 3) if limit else 0.0,
        window_ms=window_ms,
        starved_ms=starved_ms,
    )
