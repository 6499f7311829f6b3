"""Looks for records in Redis that cannot be read: keys of a wrong type, and records of every kind that is kept.

Of the jobs' records a sample is looked at: a queue may hold a million.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import keys, records, redis_clock
from ..errors import UnreadableBody
from ..records import stats
from ..records.holds import PauseScope, unpack_pause
from ..records.unreadable import Unreadable
from . import slots
from .link import CallerLinks
from .queue_view import MARK
from .totals import is_total

#: How many records of one kind are looked at, about.
SAMPLE = 200
#: Of a queue's tick: the times of the last tick and the last trimming.
_TICK_TIMES = 16

_Reason = str | None


def _job(field: bytes, value: bytes) -> _Reason:
    try:
        records.unpack(value)
    except UnreadableBody as error:
        return str(error)
    return None


def _lease(_: bytes, value: bytes) -> _Reason:
    return None if records.lease_since(value) else "too short for a lease, or since no time"


def _mark(field: bytes, value: bytes) -> _Reason:
    if field != keys.TICK_FIELD:
        return _size(value, MARK.size)
    if len(value) <= _TICK_TIMES:
        # Without a clock, as a release before it wrote it.
        return _size(value, _TICK_TIMES)
    return None if redis_clock.is_readable(value) else "not a clock"


def _size(value: bytes, least: int) -> _Reason:
    return None if len(value) >= least else f"{len(value)} bytes, not {least} or more"


def _minute(_: bytes, value: bytes) -> _Reason:
    return None if stats.unpack(value) is not None else "not the counts of a minute"


def _total(field: bytes, value: bytes) -> _Reason:
    return None if is_total(field, value) else "not how often an actor's runs ended so"


def _object(_: bytes, value: bytes) -> _Reason:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return None if isinstance(found, dict) else "no JSON object"


def _failure_group(_: bytes, value: bytes) -> _Reason:
    return _object(b"", value[20:]) if len(value) > 20 else "too short"


def _whole(value: bytes) -> _Reason:
    return None if value.isdigit() else "not a whole number"


def _setting(field: bytes, value: bytes) -> _Reason:
    """Check a field of ``meta``; one that this release does not know is another's."""
    if field in (b"paused", b"paused:esi"):
        return None if unpack_pause(PauseScope.QUEUE, value) is not None else "not a pause"
    if field == b"rate":
        count, _, period = value.partition(b" ")
        return None if count.isdigit() and period.isdigit() else "not two whole numbers"
    if field == b"keep":
        return None if len(value) >= 24 else "too short"
    if field in (b"seq", b"limit", b"limit_set", b"max_length", b"recovered", b"late", b"poison"):
        return _whole(value)
    return None


def _slot(field: bytes, value: bytes) -> _Reason:
    return _whole(value) if field == b"last_success" else slots.why_no_slot(value)


_HASHES: Mapping[str, tuple[str, Callable[[bytes, bytes], _Reason]]] = {
    "jobs": ("job", _job),
    "active": ("lease", _lease),
    "meta": ("setting", _setting),
    "workers": ("worker", _mark),
    "stats": ("statistics of minute", _minute),
    "totals": ("total of", _total),
    "faults": ("failure group", _failure_group),
    "operations": ("bulk operation", _object),
}


def unreadable_records(links: CallerLinks, bases: Mapping[str, str], book: slots.ScheduleBook) -> list[Unreadable]:
    """Return what cannot be read of the queues, whose keys' beginnings are `bases`, and of the schedulers.

    Raises `RedisUnavailable` when Redis does not answer.
    """
    found: list[Unreadable] = []
    for queue, base in bases.items():
        # Schedules that cannot be read are left to who reads schedules, and finds more of them.
        schedules = book.read([queue])
        own = [f"slots:{each.name}" for each in schedules]
        found += _of_wrong_type(links, queue, base, {**keys.TYPES, **dict.fromkeys(own, "hash")})
        kinds = {**_HASHES, **dict.fromkeys(own, ("slot", _slot))}
        replies = links.read([("HSCAN", f"{base}:{suffix}", 0, "COUNT", SAMPLE) for suffix in kinds])
        for (suffix, (kind, check)), reply in zip(kinds.items(), replies, strict=True):
            found += _of_hash(kind, queue, f"{base}:{suffix}", check, reply)
    return [*found, *_of_wrong_type(links, "", book.namespace, {"schedulers": "hash", "schedules:changes": "string"})]


def _of_wrong_type(links: CallerLinks, queue: str, base: str, types: Mapping[str, str]) -> Iterator[Unreadable]:
    names = links.read([("TYPE", f"{base}:{suffix}") for suffix in types])
    for (suffix, expected), name in zip(types.items(), names, strict=True):
        if name.decode() not in ("none", expected):
            why = f"it is a {name.decode()}, not a {expected}; nothing of it can be used"
            yield Unreadable("the key", queue, f"{base}:{suffix}", b"", why)


def _of_hash(
    kind: str, queue: str, key: str, check: Callable[[bytes, bytes], _Reason], reply: Sequence[Any]
) -> Iterator[Unreadable]:
    fields = reply[1] if reply else []
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        if why := check(field, value):
            yield Unreadable(kind, queue, key, field, why)
