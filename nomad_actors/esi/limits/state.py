"""The limiter's state, for operators: brakes in force, the error limit, and buckets that are spent or nearly."""

from __future__ import annotations

import json
from typing import Any

import redis

from ...clock import Clock
from ...response_model import ResponseModel
from .keys import key
from .rate_groups import tokens_by_group

#: The size of ESI's error window (esi-docs, error limiting).
_ERRORS = 100
#: The kinds of brakes, for metrics (brakes.py, reserve.lua).
BRAKE_KINDS = ("error limit", "down", "downtime", "rate limit", "route", "unchecked", "rejected", "refused")
#: A bucket's slots (lib.lua).
_SLOTS = 60
#: Buckets that no request met for this long have returned most of their tokens: CCP's windows have 15 minutes.
_LATELY_MS = 900_000


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
    """A bucket: its tokens, those spent and held now, their share, and when it last had no room (null: lately not)."""

    name: str
    group: str
    tokens: int
    used: int
    held: int
    share: float
    window_ms: int
    starved_ms: int | None


class LimitsState(ResponseModel):
    """All brakes in force, the errors that ESI still allows, buckets without room, and the requests under way."""

    brakes: list[BrakeState]
    errors_remaining: int
    errors_reset_ms: int
    #: Buckets that had no room within their window, the latest first.
    starving: list[Bucket]
    #: Buckets of which more than half was spent lately, the fullest first.
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
        pipe.hmget(key("errors"), "remaining", "reset")
        pipe.hgetall(key("groups"))
        for name in ("starving", "busy"):
            pipe.zrevrangebyscore(key(name), "+inf", now_ms - _LATELY_MS, start=0, num=buckets, withscores=True)
        for name in ("esi", "sso"):
            pipe.zcount(key("under_way", name), now_ms, "+inf")
        brakes, errors, learnt, starving, busy, under_way, sso_under_way = pipe.execute()
    remaining, reset_ms = (int(float(value or 0)) for value in errors)
    starved = {name: int(score) for name, score in starving}
    found = _buckets(client, [*starved, *(name for name, _ in busy)], starved, tokens_by_group(learnt), now_ms)
    return LimitsState(
        brakes=sorted(_in_force(brakes, now_ms), key=lambda brake: (":" in brake.name, brake.name)),
        errors_remaining=remaining if now_ms < reset_ms else _ERRORS,
        errors_reset_ms=reset_ms if now_ms < reset_ms else 0,
        starving=[found[name] for name in starved if name in found],
        busy=sorted((found[name] for name, _ in busy if name in found), key=lambda each: -each.share),
        under_way=under_way,
        concurrency=concurrency,
        sso_under_way=sso_under_way,
        sso_concurrency=sso_concurrency,
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


def _buckets(
    client: redis.Redis, names: list[str], starved: dict[str, int], tokens: dict[str, int], now_ms: int
) -> dict[str, Bucket]:
    names = list(dict.fromkeys(names))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(key("bucket", name))
        found = pipe.execute() if names else []
    return {
        name: _bucket(name, fields, starved.get(name), tokens, now_ms)
        for name, fields in zip(names, found, strict=True)
        if "window" in fields
    }


def _bucket(name: str, fields: dict[str, str], starved_ms: int | None, tokens: dict[str, int], now_ms: int) -> Bucket:
    window_ms, held = int(float(fields["window"])), int(float(fields.get("held", 0)))
    # `used` is of the last request; slots that have returned since then do not count.
    oldest = now_ms // (window_ms / _SLOTS) - _SLOTS
    used = sum(int(float(spent)) for slot, spent in fields.items() if slot.isdigit() and int(slot) >= oldest)
    group = name.partition(":")[0]
    of = tokens.get(group, 0)
    return Bucket(
        name=name,
        group=group,
        tokens=of,
        used=used,
        held=held,
        share=round((used + held) / of, 3) if of else 0.0,
        window_ms=window_ms,
        starved_ms=starved_ms,
    )
