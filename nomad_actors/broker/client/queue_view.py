"""What an operator sees of one queue, and does to it; each method is one script, or bounded steps of one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from .. import keys, records
from ..errors import UnreadableBody
from ..records import Record, notes
from ..records.control import pack_cancel
from ..records.holds import Limits, PauseScope
from ..records.stored_job import StoredJob
from ..states import FINISHED, State
from .link import Call, CallerLinks
from .queue_facts import DAY_MINUTES, QueueCounts, QueueFacts, unpack_facts
from .steps import Found, Steps, ask, run

#: How many jobs one step of a long operation touches.
STEP = 500
#: How many more than are wanted are looked at in search of old ones.
MOST_LOOKED_AT = 2_000


class QueueView:
    """One queue, seen by a caller or operator.

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, links: CallerLinks, base: str, name: str) -> None:
        self._links = links
        self._base = base
        self.name = name

    def read(self, reading: Steps[Found]) -> Found:
        """Make one reading; see `steps`."""
        return run(self._links, reading)

    def _run(self, script: str, *arguments: bytes | str | int | float) -> Any:
        return self._links.run([Call(script, self._base, arguments)])[0]

    def counts(self) -> QueueCounts:
        """Return exact counts of one instant."""
        return self.facts(stats_minutes=0).counts

    def facts(self, *, stats_minutes: int = DAY_MINUTES) -> QueueFacts:
        """Return the queue's state, with the statistics of the last minutes."""
        return run(self._links, self.reading_facts(stats_minutes=stats_minutes))

    def reading_facts(self, *, stats_minutes: int) -> Steps[QueueFacts]:
        """Read what `facts` returns."""
        return unpack_facts((yield from ask(self.facts_call(stats_minutes))))

    def facts_call(self, stats_minutes: int = 0) -> Call:
        """Return the call whose reply `unpack_facts` reads."""
        return Call("facts", self._base, (stats_minutes,))

    def jobs(self, state: State, start: int, end: int) -> Sequence[StoredJob]:
        """Return jobs `start` to `end`, inclusive, the latter negative from the end as in Redis.

        Waiting in the order of starting, delayed by due time, active longest first, finished newest first.
        """
        return run(self._links, self.reading_jobs(state, start, end))

    def reading_jobs(self, state: State, start: int, end: int) -> Steps[Sequence[StoredJob]]:
        """Read what `jobs` returns."""
        order = "rev" if state in FINISHED else ""
        jobs: list[StoredJob] = []
        more = 1
        while more:
            more, *reply = yield from ask(Call("list", self._base, (state.value, start + len(jobs), end, order)))
            jobs += [self.job(state, *reply[i : i + 4]) for i in range(0, len(reply), 4)]
        if state is State.ACTIVE:
            jobs.sort(key=lambda job: job.running_since_ms or 0)
            return jobs[start:] if end == -1 else jobs[start : end + 1]
        return jobs

    def get(self, job_id: str) -> StoredJob | None:
        """Return one job, or None when the queue holds none of this id."""
        (reply,) = self._links.run([self.get_call(job_id)])
        return self.found_job(job_id, reply)

    def get_call(self, job_id: str) -> Call:
        """Return the call whose reply `found_job` reads."""
        return Call("get", self._base, (records.pack_id(job_id),))

    def found_job(self, job_id: str, reply: Sequence[bytes]) -> StoredJob | None:
        """Return the job of a reply to `get_call`, None when the queue holds none of this id."""
        return self.job(State(reply[0].decode()), records.pack_id(job_id), *reply[1:]) if reply else None

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
        call = self.again_call(job)
        return "unreadable" if call is None else self._links.run([call])[0].decode()

    def again_call(self, job: StoredJob) -> Call | None:
        """Return the call of `again`; None for a job whose record cannot be read."""
        return self._again(job, call=_call())

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
                for p in self.facts(stats_minutes=0).waiting_ms
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


def _call() -> str:
    """Return the number of a call that is told the same when it is repeated."""
    return secrets.token_hex(8)


def _created_ms(value: bytes) -> Sequence[float]:
    """Return when a stored job was enqueued: nothing for a value that is no record."""
    try:
        return (records.unpack(value).header.created_ms,)
    except UnreadableBody:
        return ()
