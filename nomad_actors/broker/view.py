"""What an operator sees of one queue, and does to it; each method is one script, or bounded steps of one."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dramatiq import Message

from . import records
from .errors import UnreadableBody
from .link import Call, CallerLinks
from .records import EventKind, Flag, Record
from .states import State

#: A worker that was not heard of for this long does not count as live.
LIVE_MS = 20_000
#: How many jobs one step of a long operation touches.
STEP = 500

_NEWEST_FIRST = (State.COMPLETED, State.FAILED)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs are in which state; `paused_since_ms` is None when the queue runs."""

    now_ms: float
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    paused_since_ms: int | None
    limit: int | None


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job as it stands in Redis."""

    job_id: str
    state: State
    record: Record | None
    #: Since when it runs, while it is active.
    running_since_ms: float | None
    #: None when the body cannot be read; `unreadable` says why.
    message: Message[Any] | None
    unreadable: str | None

    def timeline(self) -> list[dict[str, object]]:
        """Return the story as the API tells it, oldest first."""
        if self.record is None:
            return []
        told: list[dict[str, object]] = [{"event": "enqueued", "at": int(self.record.header.created_ms)}]
        told += [_tell(event) for event in self.record.events()]
        if self.running_since_ms is not None:
            told.append({"event": "started", "at": int(self.running_since_ms)})
        return told

    def last(self, kind: EventKind) -> bytes | None:
        """Return what the story last said of `kind`."""
        found = [e.data for e in self.record.events() if e.kind is kind] if self.record else []
        return found[-1] if found else None

    @property
    def skipped(self) -> bool:
        """Whether the job ended by skipping itself."""
        return bool(self.record and self.record.header.flags & Flag.SKIPPED)


def _tell(event: records.Event) -> dict[str, object]:
    told: dict[str, object] = {"event": event.kind.name.lower(), "at": int(event.at_ms)}
    if event.kind is EventKind.STARTED:
        told["worker"] = event.data.decode(errors="replace")
    elif event.kind is EventKind.ERROR:
        told.update(json.loads(event.data))
    elif event.kind is EventKind.RETRY:
        told["due"] = int(struct.unpack(">d", event.data)[0])
    elif event.kind is EventKind.FAILED:
        told["reason"] = event.data.decode(errors="replace")
    elif event.kind is EventKind.CUT:
        told["eventsLeftOut"] = int(event.data)
    return told


@dataclass(frozen=True, slots=True)
class MinuteStats:
    """What ended within one minute: the honest counters, kept by the settling script."""

    minute: int
    completed: int
    failed: int
    run_ms: float


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker process that serves the queue."""

    worker_id: str
    name: str
    heard_ms: float


@dataclass(frozen=True, slots=True)
class Ages:
    """Ages in ms: of the job that runs longest, and of the first waiting one of each priority."""

    longest_active_ms: float | None
    waiting_ms: dict[int, float]


class QueueView:
    """One queue, seen by a caller or operator.

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, links: CallerLinks, base: str, name: str) -> None:
        self._links = links
        self._base = base
        self.name = name

    def _run(self, script: str, *arguments: bytes | str | int | float) -> Any:
        return self._links.run([Call(script, self._base, arguments)])[0]

    def counts(self) -> QueueCounts:
        """Return exact counts of one instant."""
        now, waiting, active, delayed, completed, failed, paused, limit = self._run("counts")
        return QueueCounts(
            float(now),
            waiting,
            active,
            delayed,
            completed,
            failed,
            int(paused) if paused else None,
            int(limit) if limit else None,
        )

    def jobs(self, state: State, start: int, end: int) -> Sequence[StoredJob]:
        """Return jobs `start` to `end`, inclusive and negative from the end as in Redis.

        Waiting in the order of starting, delayed by due time, active longest first, finished newest first.
        """
        order = "rev" if state in _NEWEST_FIRST else ""
        reply = self._run("list", state.value, start, end, order)
        jobs = [self._job(state, *reply[i : i + 3]) for i in range(0, len(reply), 3)]
        if state is State.ACTIVE:
            jobs.sort(key=lambda job: job.running_since_ms or 0)
            return jobs[start:] if end == -1 else jobs[start : end + 1]
        return jobs

    def get(self, job_id: str) -> StoredJob | None:
        """Return one job, or None when the queue holds none of this id."""
        stored_id = records.pack_id(job_id)
        reply = self._run("get", stored_id)
        return self._job(State(reply[0].decode()), stored_id, *reply[1:]) if reply else None

    def _job(self, state: State, stored_id: bytes, value: bytes, lease: bytes) -> StoredJob:
        job_id = records.unpack_id(stored_id)
        running_since = records.LEASE.unpack(lease)[1] if lease else None
        try:
            record = records.unpack(value)
        except UnreadableBody as error:
            return StoredJob(job_id, state, None, running_since, None, error.message)
        try:
            message = records.unpack_body(self.name, job_id, record.header, record.body)
        except UnreadableBody as error:
            return StoredJob(job_id, state, record, running_since, None, error.message)
        return StoredJob(job_id, state, record, running_since, message, None)

    def again(self, job: StoredJob) -> str:
        """Put a finished job back to waiting with its attempts afresh; return ``ok`` or why not."""
        if job.record is None:
            return "unreadable"
        body = job.record.body
        if job.message is not None:
            job.message.options.pop("retries", None)
            body = records.pack_body(job.message)
        word: bytes = self._run("again", records.pack_id(job.job_id), job.record.header.token, body)
        return word.decode()

    def promote(self, job_id: str) -> str:
        """Put a delayed job to waiting now; return ``ok``, ``missing`` or the state that does not allow it."""
        word: bytes = self._run("promote", records.pack_id(job_id))
        return word.decode()

    def remove(self, job_id: str) -> str:
        """Remove a job that does not run; return ``ok``, ``missing`` or ``active``."""
        word: bytes = self._run("remove", records.pack_id(job_id))
        return word.decode()

    def clean(self, state: State, *, grace_ms: int, limit: int) -> Sequence[str]:
        """Remove jobs that ended (else were enqueued) over `grace_ms` ago, oldest first; return their ids."""
        removed: list[str] = []
        if state in _NEWEST_FIRST:
            while len(removed) < limit:
                step = self._run("clean", state.value, grace_ms, min(STEP, limit - len(removed)))
                removed += map(records.unpack_id, step)
                if not step:
                    break
            return removed
        old = self._enqueued_before(state, self.counts().now_ms - grace_ms)[:limit]
        for i in range(0, len(old), STEP):
            step = self._run("clean", state.value, "", *old[i : i + STEP])
            removed += map(records.unpack_id, step)
        return removed

    def _enqueued_before(self, state: State, before_ms: float) -> Sequence[bytes]:
        """Return the ids of one state's jobs enqueued before a time, oldest first: their index has another order."""
        found: list[tuple[float, bytes]] = []
        start = 0
        while reply := self._run("list", state.value, start, start + STEP - 1, ""):
            for i in range(0, len(reply), 3):
                found += [(age, reply[i]) for age in _created_ms(reply[i + 1]) if age < before_ms]
            start += STEP
        return [stored_id for _, stored_id in sorted(found)]

    def pause(self) -> None:
        """Let no job of this queue start, in any process, until it is resumed."""
        self._run("pause", "pause")

    def resume(self) -> None:
        """Let jobs start again."""
        self._run("pause", "resume")

    def set_limit(self, limit: int | None) -> None:
        """Set how many jobs may run at a time over all hosts; None lifts the limit."""
        self._run("limit", "" if limit is None else limit)

    def flush(self) -> None:
        """Drop every job of the queue."""
        self._run("flush")

    def workers(self) -> Sequence[LiveWorker]:
        """Return the worker processes that serve the queue now."""
        reply, now = self._links.commands([("HGETALL", f"{self._base}:workers"), ("TIME",)])
        now_ms = int(now[0]) * 1000 + int(now[1]) / 1000
        found = []
        for i in range(0, len(reply), 2):
            heard, _ = struct.unpack_from(">dI", reply[i + 1])
            if now_ms - heard <= LIVE_MS:
                found.append(LiveWorker(reply[i].hex(), reply[i + 1][12:].decode(errors="replace"), heard))
        return sorted(found, key=lambda worker: worker.name)

    def stats(self, window_minutes: int) -> Sequence[MinuteStats]:
        """Return the counters of the last minutes, the current one included, in order."""
        values, now = self._links.commands([("HVALS", f"{self._base}:stats"), ("TIME",)])
        this_minute = int(now[0]) // 60
        minutes = [MinuteStats(*struct.unpack(">IIId", value)) for value in values]
        return sorted(
            (m for m in minutes if this_minute - window_minutes < m.minute <= this_minute),
            key=lambda m: m.minute,
        )

    def ages(self) -> Ages:
        """Return how old the oldest jobs are."""
        reply = self._run("ages")
        now = float(reply[0])
        waiting = {reply[i]: max(0.0, now - float(reply[i + 1])) for i in range(2, len(reply), 2)}
        return Ages(now - float(reply[1]) if reply[1] else None, waiting)

    def wait_empty(self, *, timeout_ms: int | None) -> bool:
        """Wait until nothing waits, is delayed or runs; return whether that came within the timeout."""
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        while True:
            counts = self.counts()
            if counts.waiting + counts.active + counts.delayed == 0:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def _created_ms(value: bytes) -> Sequence[float]:
    """Return when a stored job was enqueued: nothing for a value that is no record."""
    try:
        return (records.unpack(value).header.created_ms,)
    except UnreadableBody:
        return ()
