"""Finds data in Redis that cannot be read: keys of a wrong type, and invalid records of every kind.

Only a sample of the jobs' records is checked, because a queue may have a million.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import keys, records, redis_clock
from ..errors import UnreadableBody, WrongKeyType
from ..records import stats
from ..records.limits import PauseScope, unpack_pause
from ..records.unreadable import Unreadable
from . import slots
from .link import CallerLinks, Request
from .queue_facts import MARK

#: About how many records of one kind are checked.
SAMPLE = 200
#: The bytes of a queue's `tick` field for the times of the last tick and the last trimming.
_TICK_TIMES = 16

_Reason = str | None


def _job(field: bytes, value: bytes) -> _Reason:
    try:
        records.unpack(value)
    except UnreadableBody as error:
        return str(error)
    return None


def _lease(_: bytes, value: bytes) -> _Reason:
    return None if records.lease_since(value) else "too short for a lease, or its start is not a time"


def _mark(field: bytes, value: bytes) -> _Reason:
    if field != keys.TICK_FIELD:
        return _size(value, MARK.size)
    if len(value) <= _TICK_TIMES:
        # Without a clock, as older releases wrote it.
        return _size(value, _TICK_TIMES)
    return None if redis_clock.is_readable(value) else "not a clock"


def _size(value: bytes, least: int) -> _Reason:
    return None if len(value) >= least else f"{len(value)} bytes, not {least} or more"


def _minute(_: bytes, value: bytes) -> _Reason:
    return None if stats.unpack(value) is not None else "not the counts of a minute"


def _total(field: bytes, value: bytes) -> _Reason:
    return None if stats.is_total(field, value) else "not a number of an actor's runs with an outcome"


def _object(_: bytes, value: bytes) -> _Reason:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return None if isinstance(found, dict) else "not a JSON object"


def _failure_group(_: bytes, value: bytes) -> _Reason:
    return _object(b"", value[20:]) if len(value) > 20 else "too short"


def _integer(value: bytes) -> _Reason:
    return None if value.isdigit() else "not a whole number"


def _setting(field: bytes, value: bytes) -> _Reason:
    if field in (b"paused", b"paused:esi"):
        return None if unpack_pause(PauseScope.QUEUE, value) is not None else "not a pause"
    if field == b"rate":
        count, _, period = value.partition(b" ")
        return None if count.isdigit() and period.isdigit() else "not two whole numbers"
    if field == b"keep":
        return None if len(value) >= 24 else "too short"
    if field in (b"seq", b"limit", b"limit_set", b"max_length", b"recovered", b"late", b"poison"):
        return _integer(value)
    # Another release may know it.
    return None


def _slot(field: bytes, value: bytes) -> _Reason:
    return _integer(value) if field == b"last_success" else slots.why_no_slot(value)


_Check = Callable[[bytes, bytes], _Reason]
#: The hashes whose entries are checked: the name of an entry, and its check.
_HASHES: Mapping[keys.Key, tuple[str, _Check]] = {
    keys.JOBS: ("job", _job),
    keys.ACTIVE: ("lease", _lease),
    keys.META: ("setting", _setting),
    keys.WORKERS: ("worker", _mark),
    keys.STATS: ("statistics of minute", _minute),
    keys.TOTALS: ("total of", _total),
    keys.FAILURE_GROUPS: ("failure group", _failure_group),
    keys.OPERATIONS: ("bulk operation", _object),
    keys.SLOTS: ("slot", _slot),
}


def unreadable_records(
    links: CallerLinks, bases: Mapping[str, str], namespace: str, schedules: Mapping[str, Sequence[str]]
) -> list[Unreadable]:
    """Return the unreadable data of queues, whose keys begin with `bases`, and of the schedulers.

    `schedules` has the names of each queue's schedules, whose slots are checked; the schedules themselves are not,
    because their readers report them. Raises `RedisUnavailable` if Redis does not reply.
    """
    of_namespace = _KeyCheck("", {key.of(namespace): key for key in keys.NAMESPACE_KEYS.values()})
    checks = [*_checks(bases, schedules), of_namespace]
    replies = iter(links.run_each([call for check in checks for call in check.calls()]))
    return [each for check in checks for each in check.unreadable([next(replies) for _ in check.calls()])]


def _checks(bases: Mapping[str, str], schedules: Mapping[str, Sequence[str]]) -> Iterator[_KeyCheck]:
    for queue, base in bases.items():
        named = {key.of(base): key for key in keys.QUEUE_KEYS.values() if not key.is_family}
        yield _KeyCheck(queue, named | {keys.SLOTS.of(base, name): keys.SLOTS for name in schedules.get(queue, ())})


@dataclass(frozen=True, slots=True)
class _KeyCheck:
    """A check of the types of keys, by name, and of a sample of their records."""

    queue: str
    named: Mapping[str, keys.Key]

    def calls(self) -> list[Request]:
        samples: list[Request] = [("HSCAN", name, 0, "COUNT", SAMPLE) for name in self._sampled()]
        return [*(("TYPE", name) for name in self.named), *samples]

    def unreadable(self, replies: Sequence[Any]) -> Iterator[Unreadable]:
        types, samples = replies[: len(self.named)], replies[len(self.named) :]
        for (name, key), reply in zip(self.named.items(), types, strict=True):
            found = reply.decode()
            if found not in ("none", key.type):
                why = f"it is a {found}, not a {key.type}, and cannot be used"
                yield Unreadable("the key", self.queue, name, b"", why)
        for (name, (kind, check)), sample in zip(self._sampled().items(), samples, strict=True):
            if not isinstance(sample, WrongKeyType):
                for field, value in zip(sample[1][::2], sample[1][1::2], strict=True):
                    if reason := check(field, value):
                        yield Unreadable(kind, self.queue, name, field, reason)

    def _sampled(self) -> dict[str, tuple[str, _Check]]:
        return {name: _HASHES[key] for name, key in self.named.items() if key in _HASHES}
