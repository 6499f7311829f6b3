"""The stored schedules, each in the queue that its jobs go to, and their slots.

A slot is one due instant of a schedule. One script checks the schedule's version, that it is enabled and its watermark,
and adds the slot's job, so that any number of schedulers adds one job per slot.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from .. import keys
from ..errors import BrokerError
from ..records import instant
from ..records.unreadable import Unreadable
from .link import Call, CallerLinks, describe
from .packed_job import PackedJob

#: The end of the year 2199, the latest time of a schedule.
MAX_MS = 7_258_118_400_000
#: The number of tries to change a schedule that others change at the same time.
TRIES = 10


class ScheduleContended(BrokerError, RuntimeError):
    """Raised when a schedule was changed by others at every try."""


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule's record; times in ms by the calendar's clock."""

    queue: str
    name: str
    version: int
    enabled: bool
    #: Slots up to this time are done.
    watermark_ms: float
    #: What the code declares, and what an operator changed; the broker does not interpret them.
    declared: Mapping[str, Any] | None
    overrides: Mapping[str, Any]
    #: The version whose first run was added.
    init_version: int = 0
    #: The number of missed slots since the schedule exists.
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """The state of one slot; times in ms, None for what has not happened."""

    due_ms: int
    #: None for a slot of the calendar; else `init` or `manual`.
    kind: str | None = None
    added_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    outcome: str | None = None
    #: Why it got no job.
    missed: str | None = None
    #: Who requested it.
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Slots to claim in one step, oldest first: due time, and why it was missed ('' to add its job)."""

    name: str
    version: int
    slots: Sequence[tuple[int, str]]
    job: PackedJob | None
    kind: str = "due"
    overlap: str = "skip"
    by: str = ""
    #: The number of other missed slots, which are not listed.
    more_missed: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The reply to a claim: ok, stopped, changed, gone or early; and for each slot: added, missed or claimed."""

    word: str
    now_ms: float
    slots: Mapping[int, str] = field(default_factory=dict)
    #: Why the due slots got no job; '' if the claim was not refused.
    refused: str = ""


@dataclass(frozen=True, slots=True)
class SchedulerSign:
    """A scheduler's last heartbeat and the state of its clock; times in ms by Redis' clock."""

    name: str
    heard_ms: float
    #: How long ago the heartbeat was.
    silent_ms: float
    #: How far its clock is ahead of Redis', below 0 if it is behind; None if it did not report that.
    offset_seconds: float | None = None
    #: Why it is suspended, and since when; '' if it is not.
    suspended_reason: str = ""
    suspended_since_ms: float | None = None


def slot_job_id(name: str, due_ms: int) -> str:
    """Return the id of the job of a slot."""
    return f"schedule:{name}:{due_ms}"


class ScheduleBook:
    """The schedules of one namespace. Every method raises `RedisUnavailable` if Redis does not reply."""

    def __init__(self, links: CallerLinks, base_of: Callable[[str], str], namespace: str) -> None:
        self._links = links
        self._base_of = base_of
        self.namespace = namespace
        self._changes = keys.SCHEDULE_CHANGES.of(namespace)
        self._schedulers = keys.SCHEDULERS.of(namespace)

    def read(self, queues: Sequence[str]) -> list[StoredSchedule]:
        """Return the readable schedules of some queues, sorted by name."""
        return self.survey(queues)[0]

    def survey(self, queues: Sequence[str]) -> tuple[list[StoredSchedule], list[Unreadable]]:
        """Return the readable schedules of some queues, sorted by name, and the unreadable ones."""
        names = [self._key_of(queue) for queue in queues]
        replies = self._links.attempt([("HGETALL", name) for name in names])
        found, unreadable = [], []
        for queue, key, fields in zip(queues, names, replies, strict=True):
            if isinstance(fields, ResponseError):
                unreadable.append(Unreadable("the schedules", queue, key, b"", str(fields)))
                continue
            for name, record in zip(fields[::2], fields[1::2], strict=True):
                try:
                    found.append(_schedule(queue, name, record))
                except _UNREADABLE as error:
                    # Somebody edited it in Redis; the others are not affected.
                    unreadable.append(Unreadable("schedule", queue, key, name, describe(error)))
        return sorted(found, key=lambda schedule: schedule.name), unreadable

    def unreadable(self, stored: StoredSchedule, why: str) -> Unreadable:
        """Return the report of a schedule that cannot be read."""
        return Unreadable("schedule", stored.queue, self._key_of(stored.queue), stored.name.encode(), why)

    def put(
        self,
        queue: str,
        name: str,
        change: Callable[[StoredSchedule | None], Mapping[str, Any] | None],
        *,
        clock: str = "",
        begin: str = "",
    ) -> StoredSchedule | None:
        """Change a schedule: `change` gets the stored one and returns `enabled`, `declared` and `overrides`, or None.

        `begin` is "now" to start afresh, a time in ms to continue from it, or "" to continue from the watermark;
        `clock` converts Redis' time to the calendar's. Returns the record, None if there is no schedule.
        """
        for _ in range(TRIES):
            readable, unreadable = self.survey([queue])
            stored = {each.name: each for each in readable}.get(name)
            changed = change(stored)
            if changed is None:
                return stored
            text = json.dumps({**_texts(changed), "change": os.urandom(8).hex()})
            seen = stored.version if stored else -1 if any(each.field == name.encode() for each in unreadable) else 0
            if self._run("save_schedule", queue, name, seen, text, begin, clock)[0] == b"ok":
                self._links.run([("INCR", self._changes)])
                return {each.name: each for each in self.read([queue])}.get(name)
        raise ScheduleContended(f"schedule {name!r} was changed by others {TRIES} times in a row; try again")

    def remove(self, queue: str, name: str, version: int) -> bool:
        """Remove a schedule and its slots if it still has that version; its jobs stay."""
        removed: bool = self._run("save_schedule", queue, name, version, "", "", "")[0] == b"ok"
        self._links.run([("INCR", self._changes)])
        return removed

    def claim(self, queue: str, claim: Claim, *, clock: str = "") -> Claimed:
        """Add the job of each slot, or record that the slot was missed."""
        job = claim.job
        arguments: list[Any] = [claim.name, claim.version, claim.kind, claim.overlap, clock]
        arguments += [job.call, job.priority, job.created_ms, job.body, job.extra] if job else ["", 0, 0, "", ""]
        arguments += [claim.by, claim.more_missed]
        for due_ms, missed in claim.slots:
            arguments += [due_ms, missed]
        word, now_ms, *reply = self._run("claim_slots", queue, *arguments)
        slots = {int(reply[i]): reply[i + 1].decode() for i in range(0, len(reply), 2)}
        return Claimed(word.decode(), float(now_ms), slots)

    def slots_of(self, schedules: Sequence[tuple[str, str]]) -> list[tuple[list[Slot], int | None]]:
        """Return each schedule's last slots, newest first, and the last time (ms) that the job of one completed.

        A schedule is given as queue and name; all are read in one round trip.
        """
        replies = self._links.read(
            [("HGETALL", keys.SLOTS.of(self._base_of(queue), name)) for queue, name in schedules]
        )
        return [_slots(fields) for fields in replies]

    def changes(self) -> int:
        """Return a number that grows with each change of any schedule."""
        (number,) = self._links.read([("GET", self._changes)])
        return int(number) if number and number.isdigit() else 0

    def redis_ms(self) -> float:
        seconds, micros = self._links.run([("TIME",)])[0]
        return int(seconds) * 1000 + int(micros) / 1000

    def beat(
        self,
        scheduler: str,
        redis_ms: float,
        *,
        forget_before_ms: float,
        offset_seconds: float | None = None,
        suspended_reason: str = "",
        suspended_since_ms: float | None = None,
    ) -> None:
        """Save a scheduler's heartbeat, at a time by Redis' clock, and the state of its own clock (`SchedulerSign`).

        Schedulers without a heartbeat since `forget_before_ms` are forgotten.
        """
        fields = {
            "heard": redis_ms,
            "offset": offset_seconds,
            "holds": suspended_reason,
            "holdsSince": suspended_since_ms,
        }
        text = json.dumps({name: value for name, value in fields.items() if value not in (None, "")})
        _, known = self._links.run([("HSET", self._schedulers, scheduler, text), ("HGETALL", self._schedulers)])
        signs = {name: _sign(name, value, redis_ms) for name, value in zip(known[::2], known[1::2], strict=True)}
        gone = [name for name, sign in signs.items() if sign is None or sign.heard_ms < forget_before_ms]
        if gone:
            self._links.run([("HDEL", self._schedulers, *gone)])

    def leave(self, scheduler: str) -> None:
        """Remove a scheduler that stops."""
        self._links.run([("HDEL", self._schedulers, scheduler)])

    def schedulers(self) -> dict[str, SchedulerSign]:
        """Return each scheduler's last heartbeat by name."""
        (seconds, micros), known = self._links.read([("TIME",), ("HGETALL", self._schedulers)])
        now_ms = int(seconds) * 1000 + int(micros) / 1000
        signs = (_sign(name, value, now_ms) for name, value in zip(known[::2], known[1::2], strict=True))
        return {sign.name: sign for sign in signs if sign is not None}

    def _key_of(self, queue: str) -> str:
        return keys.SCHEDULES.of(self._base_of(queue))

    def _run(self, script: str, queue: str, *arguments: Any) -> Any:
        return self._links.run([Call(script, self._base_of(queue), arguments)])[0]


def _texts(changed: Mapping[str, Any]) -> dict[str, Any]:
    # The script does not interpret these and gets them as text: Lua would turn an empty list into an object.
    declared = changed["declared"]
    return {
        "enabled": bool(changed["enabled"]),
        "declared": None if declared is None else json.dumps(declared),
        "overrides": json.dumps(changed["overrides"]),
    }


def _schedule(queue: str, name: bytes, record: bytes) -> StoredSchedule:
    """Unpack a stored schedule. Raises one of `_UNREADABLE` if it is invalid."""
    fields = json.loads(record)
    declared = json.loads(fields["declared"]) if fields.get("declared") else None
    overrides = json.loads(fields["overrides"])
    if not isinstance(overrides, dict) or not isinstance(declared, dict | None):
        raise TypeError("declared or overrides is not an object")
    if not isinstance(fields["enabled"], bool):
        raise TypeError(f"enabled is {fields['enabled']!r}, not true or false")
    return StoredSchedule(
        queue=queue,
        name=name.decode(),
        version=_number("version", fields["version"]),
        enabled=fields["enabled"],
        watermark_ms=float(_number("watermark", fields["watermark"])),
        declared=declared,
        overrides=overrides,
        init_version=_number("init", fields.get("init", 0)),
        missed=_number("missed", fields.get("missed", 0)),
    )


def _number(name: str, value: object) -> int:
    """Return a count or a time; raises `ValueError` if it is out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_MS:
        raise ValueError(f"{name} is {str(value)[:50]}, not a number from 0 to {MAX_MS}")
    return int(value)


def _sign(name: bytes, value: bytes, now_ms: float) -> SchedulerSign | None:
    try:
        fields = json.loads(value)
        offset, since = fields.get("offset"), fields.get("holdsSince")
        heard_ms = instant(float(fields["heard"]))
        return SchedulerSign(
            name.decode(errors="replace"),
            heard_ms,
            # A heartbeat in the future was sent while Redis' clock was ahead.
            abs(now_ms - heard_ms),
            float(offset) if offset is not None and math.isfinite(offset) else None,
            str(fields.get("holds", "")),
            None if since is None else instant(float(since)),
        )
    except _UNREADABLE:
        return None


def _slots(fields: Sequence[bytes]) -> tuple[list[Slot], int | None]:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    success = pairs.pop(b"last_success", b"")
    found = [slot for slot in map(_slot, pairs.values()) if slot is not None]
    success_ms = int(success) if success.isdigit() and int(success) <= MAX_MS else None
    return sorted(found, key=lambda slot: -slot.due_ms), success_ms


def _slot(text: bytes) -> Slot | None:
    try:
        return _read_slot(text)
    except _UNREADABLE:
        return None


def why_no_slot(text: bytes) -> str | None:
    """Return why a slot cannot be read; None if it can."""
    try:
        _read_slot(text)
    except _UNREADABLE as error:
        return describe(error)
    return None


#: The errors that decoding invalid data may raise.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def _read_slot(text: bytes) -> Slot:
    fields = json.loads(text)
    due_ms = _number("due", fields["due"])
    known = {name: value for name, value in fields.items() if value is not None}
    times: dict[str, Any] = {f"{n}_ms": _number(n, known[n]) for n in ("added", "started", "ended") if n in known}
    words: dict[str, Any] = {n: str(known[n]) for n in ("kind", "outcome", "missed", "by") if n in known}
    return Slot(due_ms, **times, **words)
