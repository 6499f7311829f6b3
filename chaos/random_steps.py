"""Random steps of several callers and workers, executed by the scripts and by a plain model, compared after each.

Some steps are executed twice, as after a lost reply. Heartbeats come from workers that have forgotten their jobs or
find others silent, and settlements come from leases that ended long ago.
"""

from __future__ import annotations

import random
import struct
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import redis

from nomad_actors.broker import JobBroker, records
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.records import Flag, failures
from nomad_actors.broker.records.tags import pack_extra, term
from nomad_actors.broker.states import State
from nomad_actors.processes.local_redis import LocalRedis

from .consistency import check_queue
from .queue_model import FINISHED, Model

QUEUE = "model"
#: So long that no step takes an eighth of it: workers are lost only when a step says so.
LEASE_MS = 600_000
FAR_MS = 3_600_000
WORKERS = [b"worker-a", b"worker-b", b"worker-c"]
IDS = [f"job-{number}" for number in range(6)]
OUTCOMES = ("completed", "skipped", "failed", "cancelled", "retried", "deferred", "released")
#: Steps per queue: enough for three crashes of a job, few enough to start with a new queue often.
EPISODE = 150

Token = tuple[bytes, int, int]


def random_steps(draw: random.Random, seconds: float) -> str:
    """Take random steps for some seconds and compare the scripts with the model after each."""
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory), ends_with_parent=True).start()
        try:
            taken: Counter[str] = Counter()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                taken += take_steps(server.url, draw, EPISODE)
        finally:
            server.stop()
    return f"{taken.total()} steps matched: " + ", ".join(f"{count} {name}" for name, count in taken.most_common())


def take_steps(url: str, draw: random.Random, count: int) -> Counter[str]:
    """Take `count` steps on a new queue; return how many of each kind changed the model."""
    steps = RandomWalk(url, draw)
    last: deque[str] = deque(maxlen=25)
    try:
        for _ in range(count):
            try:
                last.append(steps.step())
                steps.compare()
                steps.check_wake()
            except AssertionError as failure:
                raise AssertionError(f"{failure}\nafter these steps:\n" + "\n".join(last)) from failure
        steps.taken["recovered"] = steps.model.recovered
        steps.taken["late"] = steps.model.late
        steps.taken["lost 3 times"] = steps.model.lost_permanently
        return steps.taken
    finally:
        steps.close()


class RandomWalk:
    """One queue, three workers and any number of callers."""

    def __init__(self, url: str, draw: random.Random) -> None:
        self.draw = draw
        self.client = redis.Redis.from_url(url)
        self.client.flushall()
        self.broker = JobBroker(url=url, namespace="chaos")
        self.view = self.broker.view(QUEUE)
        self.base = self.broker._base(QUEUE)
        self.model = Model()
        self.taken: Counter[str] = Counter()
        self.description = ""
        #: Jobs that could be started before the step, and whether a start left some for other workers.
        self.was_waiting: set[str] = set()
        self.left_waiting = False
        self.calls = 0
        #: The leases that each worker believes it has, including lost ones.
        self.held: dict[bytes, dict[str, Token]] = {worker: {} for worker in WORKERS}
        #: Ended leases, for late settlements.
        self.stale: list[tuple[str, Token]] = []
        self.request = dict.fromkeys(WORKERS, 0)
        self.lines: dict[Token, int] = {}
        #: Each kind of step and its weight: those that reach many states (settle, beat) are drawn more often.
        self.kinds: dict[Callable[[], None], int] = {
            self.enqueue: 16,
            self.enqueue_again: 5,
            self.make_due: 6,
            self.promote: 4,
            self.retry: 4,
            self.cancel: 5,
            self.remove: 2,
            self.clean: 1,
            self.pause: 1,
            self.limit: 1,
            self.start: 18,
            self.start_overtaken: 1,
            self.settle: 16,
            self.settle_late: 5,
            self.beat: 5,
            self.tick: 6,
            self.poison: 2,
            self.leave: 1,
            self.report: 6,
        }
        self.set_retention()

    def close(self) -> None:
        """Close the connections."""
        self.broker.close()
        self.client.close()

    def step(self) -> str:
        """Take one step; return its description."""
        self.description = ""
        self.was_waiting = {job.id for job in self.model.in_state("waiting")} if not self.model.paused else set()
        self.left_waiting = False
        # As if a worker had read it: a step that must wake a worker must write it again.
        self.client.delete(f"{self.base}:wake")
        (kind,) = self.draw.choices(list(self.kinds), list(self.kinds.values()))
        kind()
        if self.description:
            self.taken[kind.__name__] += 1
        return f"  {kind.__name__} {self.description}"

    def run_script(self, name: str, *arguments: Any, twice: bool | None = None) -> Any:
        """Run a script, twice if asked, as after a lost reply; return the last reply."""
        call = Call(name, self.base, arguments)
        reply = self.broker._links.run([call])[0]
        return self.broker._links.run([call])[0] if twice else reply

    def order_postponed(self) -> None:
        """Make newly postponed jobs due after all others, as in the model."""
        while self.model.postponed:
            self.calls += 1
            seconds, micros = self.client.time()
            due_ms = seconds * 1000 + micros / 1000 + FAR_MS + self.calls
            self.client.zadd(f"{self.base}:delayed", {records.pack_id(self.model.postponed.pop(0)): due_ms})  # type: ignore[dict-item]

    def coin(self) -> bool:
        """Return True half of the time."""
        return self.draw.random() < 0.5

    def draw_job(self, *states: str) -> str:
        """Draw a job id, mostly of a job in one of the states."""
        fitting = sorted(job.id for job in self.model.jobs.values() if job.state in states)
        return self.draw.choice(fitting * 3 + IDS)

    # Callers.

    def set_retention(self) -> None:
        """Set a small retention, so that jobs are trimmed."""
        completed, failed = self.draw.randint(2, 4), self.draw.randint(2, 4)
        self.run_script("set_retention", completed, 86_400_000, failed, 86_400_000, twice=True)
        self.model.keep_completed, self.model.keep_failed = completed, failed

    def enqueue(self) -> None:
        """Add a job, mostly a new one."""
        known = [job_id for job_id in IDS if job_id not in self.model.jobs]
        self._enqueue(self.draw.choice(known * 3 + IDS))

    def enqueue_again(self) -> None:
        """Add an existing job, by a new call or by a repetition of the call that added it."""
        if not self.model.jobs:
            return
        job = self.draw.choice(sorted(self.model.jobs.values(), key=lambda job: job.id))
        self._enqueue(job.id, job.call if self.coin() else None)

    def _enqueue(self, job_id: str, call: bytes | None = None) -> None:
        self.calls += 1
        call, body = call or struct.pack(">Q", self.calls), f"body {self.calls}"
        priority, delayed, twice = self.draw.randint(1, 3), self.draw.random() < 0.3, self.coin()
        self.description = f"{job_id} call {call.hex()[-4:]} priority {priority} delayed {delayed} twice {twice}"
        delay_ms = FAR_MS + self.calls if delayed else 0
        reply = self.run_script(
            "enqueue",
            "1",
            records.pack_id(job_id),
            call,
            priority,
            delay_ms,
            1e12,
            body.encode(),
            self._tags(),
            twice=twice,
        )
        assert reply[0].decode() == self.model.enqueue(job_id, call, priority, delayed, body)

    def _tags(self) -> bytes:
        """Return a new job's index terms: up to two, one shared by a third of the jobs, one rarer."""
        chosen = [term("one", self.draw.randint(1, 3)), term("other", self.draw.randint(1, 20))]
        return pack_extra(self.draw.sample(chosen, self.draw.randint(0, 2)), None)

    def make_due(self) -> None:
        """Make a delayed job due."""
        job_id = self.draw_job("delayed")
        job = self.model.jobs.get(job_id)
        if job and job.state == "delayed":
            self.description = job_id
            self.client.zadd(f"{self.base}:delayed", {records.pack_id(job_id): self.model.make_due(job_id)})

    def promote(self) -> None:
        """Promote a delayed job."""
        self._ask("promote", self.draw_job("delayed"))

    def cancel(self) -> None:
        """Cancel a job."""
        self._ask("cancel", self.draw_job("waiting", "delayed", "active", *FINISHED), "not wanted", b"c")

    def remove(self) -> None:
        """Remove a job."""
        self._ask("remove", self.draw_job("waiting", "delayed", *FINISHED))

    def _ask(self, name: str, job_id: str, *arguments: Any) -> None:
        twice = self.coin()
        if job_id in self.model.jobs:
            self.description = f"{job_id} ({self.model.jobs[job_id].state}) twice {twice}"
        self.run_script(name, records.pack_id(job_id), *arguments, twice=twice)
        if name == "cancel":
            self.model.cancel(job_id, arguments[0])
        else:
            getattr(self.model, name)(job_id)

    def retry(self) -> None:
        """Retry a finished job."""
        job_id, twice = self.draw_job(*FINISHED), self.coin()
        job = self.model.jobs.get(job_id)
        self.description = f"{job_id} ({job.state}) twice {twice}" if job else ""
        seen = pack_token(job.settled_by) if job and job.settled_by else bytes(14)
        self.run_script("retry", records.pack_id(job_id), seen, (job.body if job else "").encode(), twice=twice)
        self.model.retry(job_id)

    def clean(self) -> None:
        """Remove the oldest finished jobs; not executed twice, because a second call removes more."""
        state, limit = self.draw.choice(FINISHED), self.draw.randint(0, 2)
        self.description = f"{state} {limit}"
        self.run_script("clean", state, -1_000, limit)
        self.model.clean(state, limit)

    def pause(self) -> None:
        """Pause or resume the queue."""
        pause = not self.model.paused
        self.description = "pause" if pause else "resume"
        self.run_script("pause", "paused", self.description, "", "", "", twice=self.coin())
        self.model.paused = pause
        # Little happens in a paused queue: resume it soon.
        self.kinds[self.pause] = 12 if pause else 1

    def limit(self) -> None:
        """Set or remove the concurrency limit over all hosts."""
        limit = self.draw.choice([None, None, 1, 2, 3])
        self.description = str(limit)
        self.run_script("set_limits", "limit", "" if limit is None else limit, twice=True)
        self.model.limit = limit

    # Workers.

    def start(self) -> None:
        """Let a worker ask for jobs."""
        worker, free, suspects = self.draw.choice(WORKERS), self.draw.randint(1, 4), self.draw.choice([0, 1, 1])
        self._start(worker, free=free, suspects=suspects, twice=self.coin())

    def _start(self, worker: bytes, *, free: int, suspects: int, twice: bool) -> None:
        request = self.request[worker] + 1
        reply = self.run_script("start", worker, request, free, "w:1", suspects, twice=twice)
        expected = self.model.start(worker, request, free, suspects)
        self.request[worker] = request
        if expected:
            self.description = f"{worker!r} free {free} suspects {suspects} twice {twice}: {expected}"
        got = {records.unpack_id(reply[i]): int(reply[i + 2]) for i in range(3, len(reply), 4)}
        self.left_waiting = 0 < len(expected) == free and bool(self.model.in_state("waiting")) and not twice
        # Jobs that came due woke nobody, but this worker is awake.
        self.was_waiting = {job.id for job in self.model.in_state("waiting")}
        assert sorted(got) == expected, f"leased {sorted(got)}, not {expected}"
        for job_id, number in got.items():
            if job_id in self.held[worker]:
                self.stale.append((job_id, self.held[worker][job_id]))
            self.held[worker][job_id] = (worker, request, number)
            lease = self.model.holder(job_id)
            assert lease is not None
            assert lease.token == (worker, request, number)

    def start_overtaken(self) -> None:
        """Repeat an old request: nothing is leased."""
        worker = self.draw.choice(WORKERS)
        if self.model.requests.get(worker, 0) >= 2:
            self.description = str(worker)
            reply = self.run_script("start", worker, 1, 3, "w:1", 1)
            assert len(reply) == 3, "an old request got jobs"

    def _draw_held(self) -> tuple[bytes, str] | None:
        held = [(worker, job_id) for worker in WORKERS for job_id in sorted(self.held[worker])]
        return self.draw.choice(held) if held else None

    def settle(self) -> None:
        """End a run."""
        if found := self._draw_held():
            worker, job_id = found
            token = self.held[worker].pop(job_id)
            self.stale.append((job_id, token))
            self._settle(job_id, token, outbox=self.draw.random() < 0.3, twice=self.coin())

    def settle_late(self) -> None:
        """Settle a lease that was lost or has ended already."""
        if self.stale:
            job_id, token = self.draw.choice(self.stale[-12:])
            if self.held[token[0]].get(job_id) != token:
                self._settle(job_id, token, outbox=False, twice=False)

    def _failure(self, outcome: str) -> bytes:
        return failures.pack("job", "ValueError", self.draw.choice("ab")) if outcome == "failed" else b""

    def _settle(self, job_id: str, token: Token, *, outbox: bool, twice: bool) -> None:
        outcome = self.draw.choice(OUTCOMES)
        self.description = f"{job_id} {token} {outcome} outbox {outbox} twice {twice}"
        delay_ms = FAR_MS + self.calls if outcome in ("retried", "deferred") else 0
        arguments: list[Any] = [
            records.pack_id(job_id),
            pack_token(token),
            outcome,
            delay_ms,
            "",
            "",
            "note",
            self._failure(outcome),
        ]
        next_id = self._free_id()
        self.calls += 1
        call = struct.pack(">Q", self.calls)
        if outbox:
            arguments += [1, records.pack_id(next_id), call, 2, 0, 1e12, b"next", b""]
        else:
            arguments += [0]
        has_lease = (lease := self.model.holder(job_id)) is not None and lease.token == token
        reply = self.run_script("settle", "w:1", "", *arguments, twice=twice)
        result = self._model_settle(job_id, token, outcome, next_id if outbox and has_lease else None, call)
        if twice and result not in ("fenced", "gone", "already"):
            # The repetition finds the job settled already, or trimmed since.
            result = "already" if job_id in self.model.jobs else "gone"
        assert reply[1].decode() == result, f"settle replied {reply[1].decode()}, not {result}"

    def _free_id(self) -> str:
        return next(name for name in (f"next-{number}" for number in range(10_000)) if name not in self.model.jobs)

    def _model_settle(self, job_id: str, token: Token, outcome: str, next_id: str | None, call: bytes) -> str:
        if next_id is None:
            return self.model.settle(job_id, token, outcome)
        # The next job is added after the job's end and before jobs are trimmed.
        retention = self.model.keep_completed, self.model.keep_failed
        self.model.keep_completed = self.model.keep_failed = 1_000_000
        result = self.model.settle(job_id, token, outcome)
        self.model.enqueue(next_id, call, 2, False, "next")
        self.model.keep_completed, self.model.keep_failed = retention
        if outcome not in ("retried", "deferred", "released") or result == "cancelled":
            self.model.trim(2)
        return result

    def beat(self) -> None:
        """Send a worker's heartbeat; sometimes it has forgotten some jobs."""
        self._beat(self.draw.choice(["none", "gap"]), self.draw.choice([1.0, 0.7]), self.draw.choice(WORKERS))

    def tick(self) -> None:
        """Send a heartbeat that finds other workers silent."""
        running = sorted((job for job in self.model.jobs.values() if job.lease), key=lambda job: job.id)
        holders = [job.lease.worker for job in running if job.lease]
        worker, dead = self.draw.choice(WORKERS), set()
        if holders and self.coin():
            # It was killed: it is never heard again, and another process takes its name.
            dead = {self.draw.choice(holders)}
            worker = next(other for other in WORKERS if other not in dead)
        self._tick(worker, dead)

    def poison(self) -> None:
        """Kill the worker that starts the next job, three times."""
        for _ in range(3):
            worker, witness = self.draw.sample(WORKERS, 2)
            self._start(worker, free=1, suspects=1, twice=self.coin())
            self.compare()
            self._tick(witness, {worker})
            self.compare()

    def _tick(self, worker: bytes, dead: Set[bytes]) -> None:
        self._beat("silence", 1.0, worker, dead)
        for each in dead:
            self.held[each] = {}

    def _beat(self, tick: str, memory: float, worker: bytes, dead: Set[bytes] = frozenset()) -> None:
        held = self.held[worker]
        named = {job_id: token for job_id, token in sorted(held.items()) if self.draw.random() < memory}
        others = sorted(self.model.known - {worker})
        silent = {other for other in others if tick == "silence" and (other in dead or self.draw.random() < 0.5)}
        trims = tick != "none" and self.coin()
        self._set_heartbeat_times(tick, silent, trims=trims)
        self.description = f"{worker!r} names {sorted(named)}, {tick} of {sorted(silent)}, trims {trims}"
        arguments: list[Any] = [
            part for job_id, token in named.items() for part in (records.pack_id(job_id), pack_token(token))
        ]
        reply = self.run_script("heartbeat", worker, "w:1", self.request[worker], LEASE_MS, "", *arguments)
        lost, cancelled = self.model.beat(worker, self.request[worker], named, silent, trims=trims)
        assert {records.unpack_id(each) for each in reply[4]} == lost, f"lost {reply[4]}, not {lost}"
        assert {records.unpack_id(each) for each in reply[5]} == cancelled, f"to cancel {reply[5]}, not {cancelled}"
        # It no longer has the jobs that it does not name.
        for job_id in [job_id for job_id in held if job_id not in named]:
            self.stale.append((job_id, held.pop(job_id)))

    def _set_heartbeat_times(self, tick: str, silent: set[bytes], *, trims: bool) -> None:
        """Set the times of the last check and of each worker's last heartbeat as the step needs them."""
        seconds, micros = self.client.time()
        now_ms = seconds * 1000 + micros / 1000
        ago = {"none": 0.0, "gap": 0.9 * LEASE_MS, "silence": 0.2 * LEASE_MS}[tick]
        self.client.hset(f"{self.base}:workers", "tick", struct.pack(">dd", now_ms - ago, 0 if trims else now_ms))  # type: ignore[arg-type]
        for worker in self.model.known:
            heard = now_ms - 2 * LEASE_MS if worker in silent else now_ms
            missed = 2.0 * LEASE_MS if worker in silent else 0.0
            mark = struct.pack(">dId", heard, self.model.requests.get(worker, 0), missed)
            self.client.hset(f"{self.base}:workers", worker, mark + b"w:1")  # type: ignore[arg-type]

    def leave(self) -> None:
        """Stop a worker that has no jobs. It may start again and continues its request numbers."""
        worker = self.draw.choice(WORKERS)
        if not self.held[worker] and not any(j.lease and j.lease.worker == worker for j in self.model.jobs.values()):
            self.description = str(worker)
            self.run_script("heartbeat", worker, "w:1", "leave", twice=True)
            self.model.leave(worker)

    def report(self) -> None:
        """Write a line to a running job's log; some lines arrive after later ones."""
        if found := self._draw_held():
            worker, job_id = found
            token = self.held[worker][job_id]
            last = self.lines.get(token, 0)
            number = self.draw.randint(1, last) if last and self.draw.random() < 0.3 else last + 1
            self.description = f"{job_id} line {number} of {last}"
            line = f"{token} line {number}"
            self.run_script(
                "report", records.pack_id(job_id), pack_token(token), number, b"", 1.0, line, twice=self.coin()
            )
            if number > last:
                self.lines[token] = number
                self.model.report(job_id, token, line)

    # Checks after every step.

    def check_wake(self) -> None:
        """Check that a worker is woken when a job can be started."""
        waits = set() if self.model.paused else {job.id for job in self.model.in_state("waiting")}
        if waits - self.was_waiting or self.left_waiting:
            assert self.client.llen(f"{self.base}:wake") == 1, (
                f"no worker is woken for {sorted(waits - self.was_waiting)}"
            )

    def compare(self) -> None:
        """Check states, counts, order and timelines."""
        self.order_postponed()
        check_queue(self.client, self.base)
        for state in State:
            expected = self.model.in_state(state.value)
            jobs = list(self.view.jobs(state, 0, -1))
            ids = [job.job_id for job in jobs]
            if state is State.ACTIVE:
                ids, expected = sorted(ids), sorted(expected, key=lambda job: job.id)
                jobs.sort(key=lambda job: job.job_id)
            assert ids == [job.id for job in expected], f"{state}: {ids}, not {[job.id for job in expected]}"
            for stored, job in zip(jobs, expected, strict=True):
                assert stored.record is not None
                header = stored.record.header
                counted = (header.attempts, header.crashes)
                assert counted == (job.attempts, job.crashes), f"{counted} attempts and crashes of {job}"
                flags = (
                    (Flag.SKIPPED, job.skipped),
                    (Flag.CANCELLED, job.cancelled),
                )
                assert all(bool(header.flags & flag) == is_set for flag, is_set in flags), job
                timeline = [str(event["event"]) for event in stored.timeline()]
                running = ["started"] if job.lease else []
                cancel_event = ["cancel asked"] if job.lease and job.lease.cancel else []
                assert timeline == [*job.timeline, *running, *cancel_event], job
                assert [line.text for line in stored.notes.lines] == job.log, job
        counts = self.view.counts()
        assert (counts.recovered, counts.late) == (self.model.recovered, self.model.late)
        assert (bool(counts.pauses), counts.limit) == (self.model.paused, self.model.limit)
        stats = self.view.facts().tally(60)
        for outcome in (*OUTCOMES, "recovered"):
            assert getattr(stats, outcome) == self.model.outcomes[outcome], outcome
        assert set(map(records.unpack_id, self.client.hkeys(f"{self.base}:notes"))) <= set(self.model.jobs)
        next_jobs = {job.id for job in self.model.jobs.values() if job.next is not None}
        assert set(map(records.unpack_id, self.client.hkeys(f"{self.base}:next"))) == next_jobs


def pack_token(token: Token) -> bytes:
    """Return a token as it is stored."""
    return records.TOKEN.pack(*token)
