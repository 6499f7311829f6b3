"""An operator's view of one queue and the actions on it; each method runs one script, some in bounded steps."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from .. import keys, records
from ..errors import UnreadableBody
from ..records import Record, notes
from ..records.control import pack_cancel
from ..records.limits import Limits, PauseScope
from ..records.stored_job import StoredJob
from ..states import FINISHED, State
from .link import Call, CallerLinks
from .queue_facts import DAY_MINUTES, QueueCounts, QueueFacts, unpack_facts
from .steps import Found, Steps, ask, run

#: How many jobs one step of a long operation touches.
STEP = 500
#: How many jobs beyond the requested number are scanned in search of old ones.
MAX_SCANNED = 2_000


class QueueView:
    """One queue for callers and operators. Every method raises `RedisUnavailable` if Redis does not reply."""

    def __init__(self, links: CallerLinks, base: str, name: str) -> None:
        self._links = links
        self._base = base
        self.name = name

    def read(self, reading: Steps[Found]) -> Found:
        """Run one reading; see `steps`."""
        return run(self._links, reading)

    def _run(self, script: str, *arguments: bytes | str | int | float) -> Any:
        return self._links.run([Call(script, self._base, arguments)])[0]

    def counts(self) -> QueueCounts:
        """Return exact counts at one instant."""
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
        """Return the jobs from index `start` to `end`, inclusive; as in Redis, a negative `end` counts from the end.

        Waiting jobs are in the order of starting, delayed ones by due time, active ones by start, finished ones newest
        first.
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
        """Return one job, or None if the queue has no job with this id."""
        (reply,) = self._links.run([self.get_call(job_id)])
        return self.found_job(job_id, reply)

    def get_call(self, job_id: str) -> Call:
        """Return the call whose reply `found_job` reads."""
        return Call("get", self._base, (records.pack_id(job_id),))

    def found_job(self, job_id: str, reply: Sequence[bytes]) -> StoredJob | None:
        """Return the job of a reply to `get_call`, or None if the queue has no job with this id."""
        return self.job(State(reply[0].decode()), records.pack_id(job_id), *reply[1:]) if reply else None

    def job(self, state: State, stored_id: bytes, value: bytes, lease: bytes, stored_notes: bytes) -> StoredJob:
        """Unpack a job from a script's reply."""
        job_id = records.unpack_id(stored_id)
        record: Record | None = None
        message, unreadable = None, None
        try:
            record = records.unpack(value)
            message = records.unpack_body(self.name, job_id, record.header, record.body)
        except UnreadableBody as error:
            unreadable = error.message
        since_ms, reported = records.lease_since(lease), notes.unpack(stored_notes)
        cancel = lease[records.LEASE.size :].decode(errors="replace") or None
        worker_id = lease[: records.WORKER_ID_BYTES] or None
        return StoredJob(job_id, state, record, since_ms, message, unreadable, reported, cancel, worker_id)

    def retry(self, job: StoredJob) -> str:
        """Return a finished job to waiting and reset its attempts; return ``ok`` or why not."""
        call = self.retry_call(job)
        return "unreadable" if call is None else self._links.run([call])[0].decode()

    def retry_call(self, job: StoredJob, *, of_many: bool = False) -> Call | None:
        """Return the call of `retry`; None for a job whose record cannot be read."""
        if job.record is None:
            return None
        body = job.record.body
        if job.message is not None:
            job.message.options.pop("retries", None)
            body = records.pack_body(job.message)
        found = (records.pack_id(job.job_id), job.record.header.token, body)
        return Call("retry", self._base, (*found, "1", "") if of_many else (*found, "", _call()))

    def act(self, action: str, jobs: Sequence[StoredJob], reason: str = "") -> list[str]:
        """Retry, remove, promote or cancel jobs in one round trip, with a script each; return the scripts' replies.

        A job that has changed since it was found stays as it is, and so does one whose unique key another has by now.
        """
        calls = [self._action(action, job, reason) for job in jobs]
        replies = iter(self._links.run([call for call in calls if call is not None]) if any(calls) else ())
        return ["unreadable" if call is None else next(replies).decode() for call in calls]

    def _action(self, action: str, job: StoredJob, reason: str) -> Call | None:
        stored_id = records.pack_id(job.job_id)
        found = (job.state.value, job.record.header.token if job.record else b"")
        if action == "retry":
            return self.retry_call(job, of_many=True)
        if action == "cancel":
            text = records.cut(reason or "cancelled")
            return Call("cancel", self._base, (stored_id, text, pack_cancel(stored_id, text), *found))
        return Call(action, self._base, (stored_id, *found) if action == "remove" else (stored_id,))

    def promote(self, job_id: str) -> str:
        """Move a delayed job to waiting now; return ``ok``, ``missing`` or the state that does not allow it."""
        word: bytes = self._run("promote", records.pack_id(job_id), _call())
        return word.decode()

    def cancel(self, job_id: str, reason: str) -> str:
        """Cancel a job; return ``ok``, or ``asked`` if it is active and its worker was notified.

        Otherwise return ``missing`` or the state that does not allow it.
        """
        stored_id, text = records.pack_id(job_id), records.cut(reason or "cancelled")
        word: bytes = self._run("cancel", stored_id, text, pack_cancel(stored_id, text))
        return word.decode()

    def remove(self, job_id: str) -> str:
        """Remove a job that is not active; return ``ok``, ``missing`` or ``active``."""
        word: bytes = self._run("remove", records.pack_id(job_id), "", "", _call())
        return word.decode()

    def clean(self, state: State, *, grace_ms: int, limit: int) -> Sequence[str]:
        """Remove jobs that ended (unfinished ones: were enqueued) over `grace_ms` ago, oldest first; return their ids.

        Of waiting jobs, `limit` plus `MAX_SCANNED` of each priority are scanned in the order of starting; of delayed
        ones, the same number by due time.
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
            checked, *step = self._run("clean", state.value, "", *old[:STEP])
            removed += map(records.unpack_id, step)
            old = old[checked:]
        return removed

    def _enqueued_before(self, state: State, before_ms: float, limit: int) -> Sequence[bytes]:
        """Return the ids of one state's jobs enqueued before a time, oldest first; their index has another order."""
        spans = [("-inf", "+inf")]
        if state is State.WAITING:
            # Within a priority the order is nearly that; one scan over all would not reach the low priorities.
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
        scanned, score, member = 0, "", b""
        while len(found) < limit and scanned < limit + MAX_SCANNED:
            more, last_score, last, *reply = self._run("page", state.value, "", STEP, score, member, *span, "")
            for i in range(0, len(reply), 4):
                found += [(age, reply[i]) for age in _created_ms(reply[i + 2]) if age < before_ms]
            if not more and len(reply) < 4 * STEP:
                break
            scanned += len(reply) // 4
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
        """Start no job of this queue, in any process, until it is resumed or `for_ms` have passed."""
        until = "" if for_ms is None else for_ms
        self._run("pause", scope.field, "pause", until, records.cut(by), records.cut(reason))

    def resume(self, *, scope: PauseScope = PauseScope.QUEUE) -> None:
        """Let jobs start again, unless the queue has another pause."""
        self._run("pause", scope.field, "resume", "", "", "")

    def set_limits(self, limits: Limits) -> None:
        """Set all limits of the queue; None removes one, so that the declared value applies again."""
        rate = "" if limits.starts is None else f"{limits.starts} {limits.period_ms}"
        values = {"limit_set": limits.concurrency, "rate": rate, "max_length": limits.max_length}
        fields = [part for name, value in values.items() for part in (name, "" if value is None else value)]
        self._run("set_limits", *fields)

    def flush(self) -> None:
        self._run("flush")

    def wait_empty(self, *, timeout_ms: int | None) -> bool:
        """Wait until no job is waiting, delayed or active; return False after the timeout."""
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        while True:
            counts = self.counts()
            if counts.waiting + counts.active + counts.delayed == 0:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def _call() -> str:
    # The call's number, by which its repeat gets the same reply.
    return secrets.token_hex(8)


def _created_ms(value: bytes) -> Sequence[float]:
    try:
        return (records.unpack(value).header.created_ms,)
    except UnreadableBody:
        return ()
