"""Schedules as Redis keeps them, each beside the queue that its jobs go to, and their slots.

A slot is one due instant of a schedule. It is claimed in one script with the schedule's version, its being on, its
watermark and the adding of its job, so that any number of schedulers gives one job a slot.
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

#: No time of a schedule lies beyond the year 2200.
MAX_MS = 7_258_118_400_000
#: How often a change of a schedule is tried while others change it too.
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
    #: Slots up to here are dealt with.
    watermark_ms: float
    #: What the code declares, what an operator put in its place, and what holds: of no meaning to the broker.
    declared: Mapping[str, Any] | None
    overrides: Mapping[str, Any]
    #: The version whose first run was added.
    init_version: int = 0
    #: How many slots were missed since the schedule exists.
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """What became of one slot; times in ms, None for what has not happened."""

    due_ms: int
    #: None for a slot of the calendar; else `init` or `manual`.
    kind: str | None
    added_ms: int | None
    started_ms: int | None
    ended_ms: int | None
    outcome: str | None
    #: Why it got no job.
    missed: str | None
    #: Who asked for it.
    by: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Slots to claim in one step, oldest first: when they were due, and why they were missed ('' adds their job)."""

    name: str
    version: int
    slots: Sequence[tuple[int, str]]
    job: PackedJob | None
    kind: str = "due"
    overlap: str = "skip"
    by: str = ""
    #: How many more were missed and are not listed.
    more_missed: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a claim: ok, stopped, changed, gone or early; and each slot's: added, missed or claimed."""

    word: str
    now_ms: float
    slots: Mapping[int, str] = field(default_factory=dict)
    #: Why the slots have no job though they are due; '' when it is not refused.
    refused: str = ""


@dataclass(frozen=True, slots=True)
class SchedulerSign:
    """A scheduler's last sign of life, and what it said of its clock; times in ms by Redis' clock."""

    name: str
    heard_ms: float
    #: How long ago that is.
    silent_ms: float
    #: Its clock's distance from Redis', above 0 when it is ahead; None when it did not say.
    offset_seconds: float | None = None
    #: Why it adds nothing, and since when; '' when it does.
    holds: str = ""
    suspended_since_ms: float | None = None


def slot_job_id(name: str, due_ms: int) -> str:
    """Return the id of the job of a slot."""
    return f"schedule:{name}:{due_ms}"


class ScheduleBook:
    """Every schedule of one namespace.

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, links: CallerLinks, base_of: Callable[[str], str], namespace: str) -> None:
        self._links = links
        self._base_of = base_of
        self.namespace = namespace
        self._changes = keys.SCHEDULE_CHANGES.of(namespace)
        self._schedulers = keys.SCHEDULERS.of(namespace)

    def read(self, queues: Sequence[str]) -> list[StoredSchedule]:
        """Return every schedule of some queues, by name, that can be read."""
        return self.survey(queues)[0]

    def survey(self, queues: Sequence[str]) -> tuple[list[StoredSchedule], list[Unreadable]]:
        """Return every schedule of some queues, by name, and what is no schedule though it is kept as one."""
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
                    # Somebody's hand in Redis: the others go on.
                    unreadable.append(Unreadable("schedule", queue, key, name, describe(error)))
        return sorted(found, key=lambda schedule: schedule.name), unreadable

    def unreadable(self, stored: StoredSchedule, why: str) -> Unreadable:
        """Return a schedule as one that cannot be read."""
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
        """Change a schedule: `change` gets it as it stands and returns `enabled`, `declared` and `overrides`, or None.

        `begin` is "now" to begin anew, a time in ms to go on from there, or "" to go on where it was; `clock` is how
        the calendar's clock is reckoned. Returns the record; None for a schedule that is not there and was not made.
        """
        for _ in range(TRIES):
            readable, rubbish = self.survey([queue])
            stored = {each.name: each for each in readable}.get(name)
            wanted = change(stored)
            if wanted is None:
                return stored
            text = json.dumps({**_texts(wanted), "change": os.urandom(8).hex()})
            seen = stored.version if stored else -1 if any(each.field == name.encode() for each in rubbish) else 0
            if self._run("save_schedule", queue, name, seen, text, begin, clock)[0] == b"ok":
                self._links.run([("INCR", self._changes)])
                return {each.name: each for each in self.read([queue])}.get(name)
        raise ScheduleContended(f"schedule {name!r} was changed by others {TRIES} times in a row; try again")

    def remove(self, queue: str, name: str, version: int) -> bool:
        """Remove a schedule and its slots if it is still of that version; its jobs stay."""
        removed: bool = self._run("save_schedule", queue, name, version, "", "", "")[0] == b"ok"
        self._links.run([("INCR", self._changes)])
        return removed

    def claim(self, queue: str, claim: Claim, *, clock: str = "") -> Claimed:
        """Give each slot its job, or write down that it was missed."""
        job = claim.job
        arguments: list[Any] = [claim.name, claim.version, claim.kind, claim.overlap, clock]
        arguments += [job.call, job.priority, job.created_ms, job.body, job.extra] if job else ["", 0, 0, "", ""]
        arguments += [claim.by, claim.more_missed]
        for due_ms, missed in claim.slots:
            arguments += [due_ms, missed]
        word, now_ms, *told = self._run("claim_slots", queue, *arguments)
        slots = {int(told[i]): told[i + 1].decode() for i in range(0, len(told), 2)}
        return Claimed(word.decode(), float(now_ms), slots)

    def slots(self, queue: str, name: str) -> tuple[list[Slot], int | None]:
        """Return a schedule's last slots, newest first, and when a slot's job last completed (ms)."""
        return self.slots_of([(queue, name)])[0]

    def slots_of(self, schedules: Sequence[tuple[str, str]]) -> list[tuple[list[Slot], int | None]]:
        """Return what `slots` does of many schedules (queue, name), in one round trip."""
        replies = self._links.read(
            [("HGETALL", keys.SLOTS.of(self._base_of(queue), name)) for queue, name in schedules]
        )
        return [_slots(fields) for fields in replies]

    def changes(self) -> int:
        """Return a number that grows whenever any schedule is changed."""
        (number,) = self._links.read([("GET", self._changes)])
        return int(number) if number and number.isdigit() else 0

    def redis_ms(self) -> float:
        """Return Redis' time."""
        seconds, micros = self._links.run([("TIME",)])[0]
        return int(seconds) * 1000 + int(micros) / 1000

    def beat(
        self,
        scheduler: str,
        redis_ms: float,
        *,
        forget_before_ms: float,
        offset_seconds: float | None = None,
        holds: str = "",
        suspended_since_ms: float | None = None,
    ) -> None:
        """Say that a scheduler lives, at a time of Redis', and how its clock stands (see `SchedulerSign`).

        Those not heard of since `forget_before_ms` are forgotten.
        """
        told = {"heard": redis_ms, "offset": offset_seconds, "holds": holds, "holdsSince": suspended_since_ms}
        text = json.dumps({name: value for name, value in told.items() if value not in (None, "")})
        _, known = self._links.run([("HSET", self._schedulers, scheduler, text), ("HGETALL", self._schedulers)])
        signs = {name: _sign(name, said, redis_ms) for name, said in zip(known[::2], known[1::2], strict=True)}
        gone = [name for name, sign in signs.items() if sign is None or sign.heard_ms < forget_before_ms]
        if gone:
            self._links.run([("HDEL", self._schedulers, *gone)])

    def leave(self, scheduler: str) -> None:
        """Say that a scheduler goes."""
        self._links.run([("HDEL", self._schedulers, scheduler)])

    def schedulers(self) -> dict[str, SchedulerSign]:
        """Return each scheduler's last sign of life, by name."""
        (seconds, micros), known = self._links.read([("TIME",), ("HGETALL", self._schedulers)])
        now_ms = int(seconds) * 1000 + int(micros) / 1000
        signs = (_sign(name, said, now_ms) for name, said in zip(known[::2], known[1::2], strict=True))
        return {sign.name: sign for sign in signs if sign is not None}

    def _key_of(self, queue: str) -> str:
        return keys.SCHEDULES.of(self._base_of(queue))

    def _run(self, script: str, queue: str, *arguments: Any) -> Any:
        return self._links.run([Call(script, self._base_of(queue), arguments)])[0]


def _texts(wanted: Mapping[str, Any]) -> dict[str, Any]:
    # What the script need not understand travels as text: Lua would turn an empty list into an object.
    declared = wanted["declared"]
    return {
        "enabled": bool(wanted["enabled"]),
        "declared": None if declared is None else json.dumps(declared),
        "overrides": json.dumps(wanted["overrides"]),
    }


def _schedule(queue: str, name: bytes, record: bytes) -> StoredSchedule:
    """Return a schedule as it is kept. Raises one of many errors for what is none: see `survey`."""
    told = json.loads(record)
    declared = json.loads(told["declared"]) if told.get("declared") else None
    overrides = json.loads(told["overrides"])
    if not isinstance(overrides, dict) or not isinstance(declared, dict | None):
        raise TypeError("what is declared or overridden is no object")
    if not isinstance(told["enabled"], bool):
        raise TypeError(f"enabled is {told['enabled']!r}, not true or false")
    return StoredSchedule(
        queue=queue,
        name=name.decode(),
        version=_number("version", told["version"]),
        enabled=told["enabled"],
        watermark_ms=float(_number("watermark", told["watermark"])),
        declared=declared,
        overrides=overrides,
        init_version=_number("init", told.get("init", 0)),
        missed=_number("missed", told.get("missed", 0)),
    )


def _number(name: str, value: object) -> int:
    """Return a count or a time; raises `ValueError` for one that no schedule has."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_MS:
        raise ValueError(f"{name} is {str(value)[:50]}, not a number from 0 to {MAX_MS}")
    return int(value)


def _sign(name: bytes, said: bytes, now_ms: float) -> SchedulerSign | None:
    """Return a sign of life as it is kept; None for one that cannot be read."""
    try:
        told = json.loads(said)
        # A number alone is of a release that said nothing else.
        fields = told if isinstance(told, dict) else {"heard": told}
        offset, since = fields.get("offset"), fields.get("holdsSince")
        heard_ms = instant(float(fields["heard"]))
        return SchedulerSign(
            name.decode(errors="replace"),
            heard_ms,
            # One heard at a time to come was heard while Redis' clock was ahead.
            abs(now_ms - heard_ms),
            float(offset) if offset is not None and math.isfinite(offset) else None,
            str(fields.get("holds", "")),
            None if since is None else instant(float(since)),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _slots(fields: Sequence[bytes]) -> tuple[list[Slot], int | None]:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    success = pairs.pop(b"last_success", b"")
    found = [slot for slot in map(_slot, pairs.values()) if slot is not None]
    return sorted(found, key=lambda slot: -slot.due_ms), int(success) if success.isdigit() and int(
        success
    ) <= MAX_MS else None


def _slot(text: bytes) -> Slot | None:
    """Return a slot as it is kept; None for one that cannot be read."""
    try:
        return _read_slot(text)
    except _UNREADABLE:
        return None


def why_no_slot(text: bytes) -> str | None:
    """Return why a slot cannot be read; None for one that can."""
    try:
        _read_slot(text)
    except _UNREADABLE as error:
        return describe(error)
    return None


#: What decoding rubbish may end in.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def _read_slot(text: bytes) -> Slot:
    told = json.loads(text)

    def whole(name: str) -> int | None:
        return _number(name, told[name]) if told.get(name) is not None else None

    def said(name: str) -> str | None:
        return str(told[name]) if told.get(name) is not None else None

    return Slot(
        due_ms=_number("due", told["due"]),
        kind=said("kind"),
        added_ms=whole("added"),
        started_ms=whole("started"),
        ended_ms=whole("ended"),
        outcome=said("outcome"),
        missed=said("missed"),
        by=said("by"),
    )
