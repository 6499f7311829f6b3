"""Looks for records in Redis that cannot be read: keys of a wrong type, and records of every kind that is kept.

Of the jobs' records a sample is looked at: a queue may hold a million.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import keys, records, redis_clock
from ..errors import UnreadableBody, WrongKeyType
from ..records import stats
from ..records.holds import PauseScope, unpack_pause
from ..records.unreadable import Unreadable
from . import slots
from .link import CallerLinks, Request
from .queue_facts import MARK

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
    "faults": ("failure group", _failure_group),
    "operations": ("bulk operation", _object),
}


def unreadable_records(
    links: CallerLinks, bases: Mapping[str, str], namespace: str, schedules: Mapping[str, Sequence[str]]
) -> list[Unreadable]:
    """Return what cannot be read of the queues, whose keys' beginnings are `bases`, and of the schedulers.

    `schedules` are the names of the schedules of each queue, whose slots are looked at; schedules themselves are left
    to who reads them. Raises `RedisUnavailable` when Redis does not answer.
    """
    looks = [
        *_looks_at(bases, schedules),
        _Look("", namespace, {"schedulers": "hash", "schedules:changes": "string"}, {}),
    ]
    replies = iter(links.run_each([call for look in looks for call in look.calls()]))
    return [each for look in looks for each in look.unreadable([next(replies) for _ in look.calls()])]


def _looks_at(bases: Mapping[str, str], schedules: Mapping[str, Sequence[str]]) -> Iterator[_Look]:
    for queue, base in bases.items():
        own = [f"slots:{name}" for name in schedules.get(queue, ())]
        types = {**keys.TYPES, **dict.fromkeys(own, "hash")}
        yield _Look(queue, base, types, {**_HASHES, **dict.fromkeys(own, ("slot", _slot))})


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at the types of a queue's keys, and at a sample of its records."""

    queue: str
    base: str
    types: Mapping[str, str]
    kinds: Mapping[str, tuple[str, Callable[[bytes, bytes], _Reason]]]

    def calls(self) -> list[Request]:
        """Return what is asked."""
        samples: list[Request] = [("HSCAN", f"{self.base}:{suffix}", 0, "COUNT", SAMPLE) for suffix in self.kinds]
        return [*(("TYPE", f"{self.base}:{suffix}") for suffix in self.types), *samples]

    def unreadable(self, replies: Sequence[Any]) -> Iterator[Unreadable]:
        """Yield what cannot be read, of the replies."""
        names, samples = replies[: len(self.types)], replies[len(self.types) :]
        for (suffix, expected), name in zip(self.types.items(), names, strict=True):
            if name.decode() not in ("none", expected):
                why = f"it is a {name.decode()}, not a {expected}; nothing of it can be used"
                yield Unreadable("the key", self.queue, f"{self.base}:{suffix}", b"", why)
        for (suffix, (kind, check)), sample in zip(self.kinds.items(), samples, strict=True):
            if not isinstance(sample, WrongKeyType):
                yield from _of_hash(kind, self.queue, f"{self.base}:{suffix}", check, sample[1])


def _of_hash(
    kind: str, queue: str, key: str, check: Callable[[bytes, bytes], _Reason], fields: Sequence[bytes]
) -> Iterator[Unreadable]:
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        if why := check(field, value):
            yield Unreadable(kind, queue, key, field, why)
