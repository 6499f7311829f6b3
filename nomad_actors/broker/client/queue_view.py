"""What an operator sees of one queue, and does to it; each method is one script, or bounded steps of one."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import keys, records, redis_clock
from ..errors import UnreadableBody
from ..records import Record, notes, stats
from ..records.control import pack_cancel
from ..records.holds import NO_LIMITS, Limits, Pause, PauseScope, unpack_limits, unpack_pause
from ..records.stored_job import StoredJob
from ..states import FINISHED, State
from .link import Call, CallerLinks

#: A worker that was not heard of for this long does not count as live.
LIVE_MS = 20_000
#: What is kept of a worker: last heard (ms), last request, for how long ticks missed it (ms); then its name.
MARK = struct.Struct(">dId")
#: How many jobs one step of a long operation touches.
STEP = 500
#: How many more than are wanted are looked at in search of old ones.
MOST_LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs are in which state, and what keeps them from starting: none of `pauses` when the queue runs."""

    now_ms: float
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    #: Of the failed ones, those that an operator cancelled.
    cancelled: int
    pauses: tuple[Pause, ...] = ()
    #: Jobs at a time over all hosts: what an operator set, else what is declared.
    limit: int | None = None
    limits: Limits = NO_LIMITS
    #: Since the queue exists: jobs taken back from lost workers, and workers that were heard of again afterwards.
    recovered: int = 0
    late: int = 0
    #: And jobs that failed because worker after worker was lost with them.
    poison: int = 0
    #: What is taken off TIME for a step of Redis' clock; 0 while it is right.
    clock_offset_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker process that serves the queue, and when it was last heard of."""

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
        return counts_of(self._run("counts"))

    def jobs(self, state: State, start: int, end: int) -> Sequence[StoredJob]:
        """Return jobs `start` to `end`, inclusive, the latter negative from the end as in Redis.

        Waiting in the order of starting, delayed by due time, active longest first, finished newest first.
        """
        order = "rev" if state in FINISHED else ""
        jobs: list[StoredJob] = []
        more = 1
        while more:
            more, *reply = self._run("list", state.value, start + len(jobs), end, order)
            jobs += [self.job(state, *reply[i : i + 4]) for i in range(0, len(reply), 4)]
        if state is State.ACTIVE:
            jobs.sort(key=lambda job: job.running_since_ms or 0)
            return jobs[start:] if end == -1 else jobs[start : end + 1]
        return jobs

    def get(self, job_id: str) -> StoredJob | None:
        """Return one job, or None when the queue holds none of this id."""
        stored_id = records.pack_id(job_id)
        reply = self._run("get", stored_id)
        return self.job(State(reply[0].decode()), stored_id, *reply[1:]) if reply else None

    def job(self, state: State, stored_id: bytes, value: bytes, lease: bytes, told: bytes) -> StoredJob:
        """Return a job as a script told of it."""
        job_id = records.unpack_id(stored_id)
        record: Record | None = None
        message, unreadable = None, None
        try:
            record = records.unpack(value)
            message = records.unpack_body(self.name, job_id, record.header, record.body)
        except UnreadableBody as error:
            unreadable = error.message
        cancel = lease[records.LEASE.size :].decode(errors="replace")
        since_ms = records.lease_since(lease)
        return StoredJob(
            job_id,
            state,
            record,
            since_ms,
            message,
            unreadable,
            notes.unpack(told),
            cancel or None,
            lease[: records.WORKER_ID_BYTES] or None,
        )

    def again(self, job: StoredJob) -> str:
        """Put a finished job back to waiting with its attempts afresh; return ``ok`` or why not."""
        call = self._again(job, call=_call())
        return "unreadable" if call is None else self._links.run([call])[0].decode()

    def act(self, action: str, jobs: Sequence[StoredJob], reason: str = "") -> list[str]:
        """Retry, remove, promote or cancel jobs in one round trip, a script each; return what each answered.

        One that is not as it was found any more is left alone, and so is one whose unique key another holds by now.
        """
        calls = [self._action(action, job, reason) for job in jobs]
        replies = iter(self._links.run([call for call in calls if call is not None]) if any(calls) else ())
        return ["unreadable" if call is None else next(replies).decode() for call in calls]

    def _action(self, action: str, job: StoredJob, reason: str) -> Call | None:
        stored_id = records.pack_id(job.job_id)
        found = (job.state.value, job.record.header.token if job.record else b"")
        if action == "retry":
            return self._again(job)
        if action == "cancel":
            text = records.cut(reason or "cancelled")
            return Call("cancel", self._base, (stored_id, text, pack_cancel(stored_id, text), *found))
        return Call(action, self._base, (stored_id, *found) if action == "remove" else (stored_id,))

    def _again(self, job: StoredJob, *, call: str = "") -> Call | None:
        if job.record is None:
            return None
        body = job.record.body
        if job.message is not None:
            job.message.options.pop("retries", None)
            body = records.pack_body(job.message)
        found = (records.pack_id(job.job_id), job.record.header.token, body)
        return Call("retry", self._base, (*found, "" if call else "1", call))

    def promote(self, job_id: str) -> str:
        """Put a delayed job to waiting now; return ``ok``, ``missing`` or the state that does not allow it."""
        word: bytes = self._run("promote", records.pack_id(job_id), _call())
        return word.decode()

    def cancel(self, job_id: str, reason: str) -> str:
        """End a job as cancelled: ``ok`` when it is, ``asked`` when it runs and its worker was told.

        Returns ``missing`` or the state that does not allow it otherwise.
        """
        stored_id, text = records.pack_id(job_id), records.cut(reason or "cancelled")
        word: bytes = self._run("cancel", stored_id, text, pack_cancel(stored_id, text))
        return word.decode()

    def remove(self, job_id: str) -> str:
        """Remove a job that does not run; return ``ok``, ``missing`` or ``active``."""
        word: bytes = self._run("remove", records.pack_id(job_id), "", "", _call())
        return word.decode()

    def clean(self, state: State, *, grace_ms: int, limit: int) -> Sequence[str]:
        """Remove jobs that ended (else were enqueued) over `grace_ms` ago, oldest first; return their ids.

        Of those that have not begun, `MOST_LOOKED_AT` more than `limit` are looked at of each priority, in the order
        of starting, and of the delayed ones as many by due time.
        """
        removed: list[str] = []
        if state in FINISHED:
            while len(removed) < limit:
                _, *step = self._run("clean", state.value, grace_ms, min(STEP, limit - len(removed)), _call())
                removed += map(records.unpack_id, step)
                if not step:
                    break
            return removed
        old = self._enqueued_before(state, self.counts().now_ms - grace_ms, limit)
        while old:
            looked, *step = self._run("clean", state.value, "", *old[:STEP])
            removed += map(records.unpack_id, step)
            old = old[looked:]
        return removed

    def _enqueued_before(self, state: State, before_ms: float, limit: int) -> Sequence[bytes]:
        """Return the ids of one state's jobs enqueued before a time, oldest first: their index has another order."""
        spans = [("-inf", "+inf")]
        if state is State.WAITING:
            # Within a priority it is nearly that order; over all, the low ones would not be come to.
            spans = [
                (repr(float(p * keys.PRIORITY_STEP)), repr(float((p + 1) * keys.PRIORITY_STEP - 1)))
                for p in self.ages().waiting_ms
            ]
        found = [old for span in spans for old in self._old_within(state, span, before_ms, limit)]
        return [stored_id for _, stored_id in sorted(found)[:limit]]

    def _old_within(
        self, state: State, span: tuple[str, str], before_ms: float, limit: int
    ) -> list[tuple[float, bytes]]:
        found: list[tuple[float, bytes]] = []
        looked_at, score, member = 0, "", b""
        while len(found) < limit and looked_at < limit + MOST_LOOKED_AT:
            more, last_score, last, *reply = self._run("page", state.value, "", STEP, score, member, *span, "")
            for i in range(0, len(reply), 4):
                found += [(age, reply[i]) for age in _created_ms(reply[i + 2]) if age < before_ms]
            if not more and len(reply) < 4 * STEP:
                break
            looked_at += len(reply) // 4
            score, member = last_score.decode(), last
        return found

    def pause(
        self,
        *,
        scope: PauseScope = PauseScope.QUEUE,
        reason: str = "",
        by: str = "",
        for_ms: int | None = None,
    ) -> None:
        """Let no job of this queue start, in any process, until it is resumed or `for_ms` are over."""
        until = "" if for_ms is None else for_ms
        self._run("pause", scope.field, "pause", until, records.cut(by), records.cut(reason))

    def resume(self, *, scope: PauseScope = PauseScope.QUEUE) -> None:
        """Let jobs start again, unless another pause holds them."""
        self._run("pause", scope.field, "resume", "", "", "")

    def set_limits(self, limits: Limits) -> None:
        """Set the queue's limits, all of them; None lifts one, and what is declared holds again."""
        rate = "" if limits.starts is None else f"{limits.starts} {limits.period_ms}"
        values = {"limit_set": limits.concurrency, "rate": rate, "max_length": limits.max_length}
        fields = [part for name, value in values.items() for part in (name, "" if value is None else value)]
        self._run("set_limits", *fields)

    def flush(self) -> None:
        """Drop every job of the queue."""
        self._run("flush")

    def workers(self) -> Sequence[LiveWorker]:
        """Return the worker processes that serve the queue now."""
        return live_workers(*self._links.read([("HGETALL", keys.WORKERS.of(self._base)), ("TIME",)]))

    def silent_ms(self, worker: str) -> float | None:
        """Return how long ago a worker process was last heard of; None if nothing is kept of it."""
        marks, now = self._links.read([("HGETALL", keys.WORKERS.of(self._base)), ("TIME",)])
        now_ms = int(now[0]) * 1000 + int(now[1]) / 1000
        # A process has several entries if it has several brokers.
        heard = [each.heard_ms for each in _known_workers(marks) if each.name == worker]
        return now_ms - max(heard) if heard else None

    def worker_names(self) -> dict[bytes, str]:
        """Return by id the name of each worker process that is known, also of one that is gone by now."""
        (reply,) = self._links.read([("HGETALL", keys.WORKERS.of(self._base))])
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return {
            worker_id: mark[MARK.size :].decode(errors="replace")
            for worker_id, mark in pairs
            if worker_id != keys.TICK_FIELD
        }

    def stats(self, window_minutes: int) -> stats.Tally:
        """Return what ended in the last minutes, the current one included."""
        values, now, clock = self._links.read(
            [("HVALS", keys.STATS.of(self._base)), ("TIME",), ("HGET", keys.WORKERS.of(self._base), keys.TICK_FIELD)]
        )
        this_minute = redis_clock.now_ms(now, clock or None) // 60_000
        entries = (entry for entry in map(stats.unpack, values) if entry is not None)
        return stats.total(tally for minute, tally in entries if this_minute - window_minutes < minute <= this_minute)

    def ages(self) -> Ages:
        """Return how old the oldest jobs are."""
        return ages_of(self._run("ages"))

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


def counts_of(reply: Sequence[Any]) -> QueueCounts:
    """Return what the script ``counts`` told."""
    now, waiting, active, delayed, completed, failed, cancelled, recovered, late, poison, *holds = reply
    declared, limit, rate, max_length, own, esi, clock_offset = holds
    pauses = (unpack_pause(PauseScope.QUEUE, own), unpack_pause(PauseScope.ESI, esi))
    limits = unpack_limits(limit, rate, max_length)
    return QueueCounts(
        float(now),
        waiting,
        active,
        delayed,
        completed,
        failed,
        cancelled,
        pauses=tuple(pause for pause in pauses if pause is not None),
        limit=limits.concurrency or (int(declared) if declared.isdigit() else None),
        limits=limits,
        recovered=recovered,
        late=late,
        poison=poison,
        clock_offset_ms=float(clock_offset),
    )


def ages_of(reply: Sequence[Any]) -> Ages:
    """Return what the script ``ages`` told."""
    now = float(reply[0])
    waiting = {reply[i]: max(0.0, now - float(reply[i + 1])) for i in range(2, len(reply), 2)}
    return Ages(now - float(reply[1]) if reply[1] else None, waiting)


def live_workers(marks: Sequence[bytes], now: Sequence[bytes]) -> Sequence[LiveWorker]:
    """Return the workers that were heard of lately, of what is kept of all of a queue and Redis' TIME."""
    now_ms = int(now[0]) * 1000 + int(now[1]) / 1000
    # One heard at a time to come was heard while Redis' clock was ahead.
    found = [worker for worker in _known_workers(marks) if abs(now_ms - worker.heard_ms) <= LIVE_MS]
    return sorted(found, key=lambda worker: worker.name)


def _known_workers(marks: Sequence[bytes]) -> Iterator[LiveWorker]:
    """Yield every worker of which something is kept, also those that are lost."""
    for worker_id, mark in zip(marks[::2], marks[1::2], strict=True):
        if worker_id != keys.TICK_FIELD and len(mark) >= MARK.size:
            heard, _, _ = MARK.unpack_from(mark)
            yield LiveWorker(worker_id.hex(), mark[MARK.size :].decode(errors="replace"), heard)


def _call() -> str:
    """Return the number of a call that is told the same when it is repeated."""
    return secrets.token_hex(8)


def _created_ms(value: bytes) -> Sequence[float]:
    """Return when a stored job was enqueued: nothing for a value that is no record."""
    try:
        return (records.unpack(value).header.created_ms,)
    except UnreadableBody:
        return ()
