"""Worker processes that are killed or frozen, and jobs that kill theirs: what was lost runs again, soon, and once."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from nomad_actors.broker import JobBroker, State
from nomad_actors.testing import LocalRedis, WorkerProcess

from .killed_actors import BOOKS, QUEUE, declare
from .pulse import Pulse

#: DESIGN's promise: a lost worker's jobs start again within the lease and 5 s.
BEYOND_LEASE_SECONDS = 5.0
#: A job that ended so shortly before its process was killed may run again: its end was not settled yet. What the
#: machine and Redis were not there for does not count; a short proof runs beside other tests and is not as strict.
UNSETTLED_MS, UNSETTLED_SHORT_MS = 5.0, 50.0
SHORT_SECONDS = 30.0
#: How long after Redis is back a worker may take to try it again: its backoff after an outage of half a second.
RECONNECT_MS = 1_000.0
SETTLE_SECONDS = 150.0


@dataclass
class Run:
    """One run of one job, as its process wrote it down; times in ms."""

    pid: int
    began_ms: float
    ended_ms: float | None = None


@dataclass
class Stage:
    """A Redis to be used, one for the books, and worker processes."""

    server: LocalRedis
    books: redis.Redis
    books_url: str
    broker: JobBroker
    lease_ms: int
    unsettled_ms: float
    pulse: Pulse
    workers: list[WorkerProcess] = field(default_factory=list)
    #: The jobs' ids by their numbers.
    job_ids: dict[int, str] = field(default_factory=dict)
    #: When a process was killed, ms, by its id.
    killed_ms: dict[int, float] = field(default_factory=dict)
    #: From when to when Redis was away, ms.
    outages_ms: list[tuple[float, float]] = field(default_factory=list)

    def start_worker(self) -> WorkerProcess:
        """Start a worker process and wait until it takes jobs."""
        environ = {
            "CHAOS_REDIS": self.server.url,
            "CHAOS_BOOKS": self.books_url,
            "CHAOS_LEASE_MS": str(self.lease_ms),
        }
        self.workers.append(WorkerProcess("chaos.killed_actors:broker", environ=environ).start())
        return self.workers[-1]

    def kill(self, process: WorkerProcess) -> None:
        """Kill a worker process, and write down when."""
        process.kill()
        self.killed_ms[process.pid] = time.time() * 1000
        self.workers.remove(process)
        process.close()

    def restart_redis(self, away_seconds: float) -> None:
        """Kill Redis and bring it back after a time, and write down when."""
        began_ms = time.time() * 1000
        self.server.kill()
        time.sleep(away_seconds)
        self.server.start()
        self.outages_ms.append((began_ms, time.time() * 1000 + RECONNECT_MS))

    def settled_by_ms(self, ended_ms: float) -> float:
        """Return by when a job that ended then must have been settled: once Redis is there to hear of it."""
        for began_ms, back_ms in self.outages_ms:
            if began_ms <= ended_ms + self.unsettled_ms and ended_ms <= back_ms:
                return back_ms
        return self.pulse.after(ended_ms, self.unsettled_ms)

    def add(self, count: int, *, run_ms: float = 10.0) -> list[int]:
        """Add jobs and return their numbers."""
        actor = self.broker.get_actor("work")
        messages = {number: actor.message(number, run_ms) for number in range(1, count + 1)}
        self.broker.enqueue_many([(message, 0) for message in messages.values()])
        self.job_ids = {number: message.message_id for number, message in messages.items()}
        return list(messages)

    def settle(self) -> None:
        """Wait until the queue is empty; a worker process that is gone meanwhile is started again."""
        deadline = time.monotonic() + SETTLE_SECONDS
        view = self.broker.view(QUEUE)
        while True:
            counts = view.counts()
            if not counts.waiting + counts.active + counts.delayed:
                return
            assert time.monotonic() < deadline, f"not empty after {SETTLE_SECONDS:g} s: {counts}"
            self.restart_dead()
            time.sleep(0.05)

    def restart_dead(self) -> int:
        """Start a worker process for each that ended by itself; return how many did."""
        dead = [process for process in self.workers if not process.alive()]
        for process in dead:
            self.workers.remove(process)
            process.close()
            self.start_worker()
        return len(dead)

    def runs(self) -> dict[int, list[Run]]:
        """Return what was written down, by job, in the order of beginning."""
        found: dict[int, list[Run]] = defaultdict(list)
        for line in self.books.lrange(BOOKS, 0, -1):  # type: ignore[union-attr]
            what, number, pid, at_ms = line.decode().split()
            if what == "began":
                found[int(number)].append(Run(int(pid), float(at_ms)))
            else:
                last = [run for run in found[int(number)] if run.pid == int(pid) and run.ended_ms is None][-1]
                last.ended_ms = float(at_ms)
        return found

    def restarts(self, number: int) -> Iterator[float]:
        """Yield how long after its process was killed a job started again, seconds, as its story has it.

        The books do not know of a lease whose process was killed before the job began.
        """
        told = self.broker.view(QUEUE).get(self.job_ids[number])
        assert told is not None, f"job {number} is not kept"
        runs = [event for event in told.timeline() if event["event"] in ("started", "recovered")]
        for run, end, later in zip(runs, runs[1:], runs[2:], strict=False):
            pid = int(str(run.get("worker", ":0")).rpartition(":")[2].partition("@")[0])
            if end["event"] == "recovered" and pid in self.killed_ms:
                yield (float(str(later["at"])) - self.killed_ms[pid]) / 1000

    def crashes(self) -> int:
        """Return how many crashes stand in the records that are kept."""
        view = self.broker.view(QUEUE)
        total = 0
        for state in (State.COMPLETED, State.FAILED):
            start = 0
            while page := view.jobs(state, start, start + 499):
                total += sum(job.record.header.crashes for job in page if job.record is not None)
                start += 500
        return total


@contextmanager
def stage(seconds: float, *, workers: int = 2, append_only: bool = False) -> Iterator[Stage]:
    """Set a stage with worker processes, and clear it whatever happened on it."""
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory) / "queue", append_only=append_only, appendfsync="always", dies_with_us=True)
        ledger = LocalRedis(Path(directory) / "books", dies_with_us=True)
        server.start()
        ledger.start()
        books = redis.Redis.from_url(ledger.url)
        lease_ms, unsettled_ms = _lease_ms(seconds), UNSETTLED_MS if seconds >= SHORT_SECONDS else UNSETTLED_SHORT_MS
        broker = JobBroker(url=server.url, namespace="chaos", lease_ms=lease_ms)
        declare(broker, books)
        pulse = Pulse(server.url)
        set_up = Stage(server, books, ledger.url, broker, lease_ms, unsettled_ms, pulse)
        try:
            for _ in range(workers):
                set_up.start_worker()
            yield set_up
        finally:
            pulse.stop()
            for process in set_up.workers:
                process.close()
            broker.close()
            books.close()
            server.kill()
            ledger.stop()


def killed_workers(draw: random.Random, seconds: float) -> str:
    """Kill one of two worker processes at random moments, twenty times, while 10,000 jobs of 10 ms run."""
    return _killed(draw, seconds, redis_kills=0)


def killed_workers_and_redis(draw: random.Random, seconds: float) -> str:
    """The same with Redis (append-only, fsync always) killed and restarted five times."""
    return _killed(draw, seconds, redis_kills=5)


def _killed(draw: random.Random, seconds: float, *, redis_kills: int) -> str:
    share = min(1.0, seconds / 60)
    jobs, kills, redis_kills = int(10_000 * share), max(2, int(20 * share)), int(redis_kills * share + 0.99)
    with stage(seconds, append_only=redis_kills > 0) as on:
        numbers = on.add(jobs)
        redis_at = set(draw.sample(range(kills), min(kills, redis_kills)))
        for kill in range(kills):
            time.sleep(draw.uniform(0.05, 0.4))
            on.kill(draw.choice(on.workers))
            if kill in redis_at:
                on.restart_redis(draw.uniform(0.0, 0.5))
            on.start_worker()
        on.settle()
        told = audit(on, numbers)
        redis_said = f", Redis {len(redis_at)} times" if redis_at else ""
        return f"{jobs} jobs, a worker killed {kills} times{redis_said}: {told}"


def audit(on: Stage, numbers: list[int]) -> str:
    """Check what ran against what was added; return a sentence with the numbers."""
    runs = on.runs()
    lost = [number for number in numbers if not any(run.ended_ms for run in runs[number])]
    assert not lost, f"lost: {lost[:10]} of {len(numbers)}"
    restarts: list[float] = []
    late_ends, again, unsettled = [], 0, 0
    for number in numbers:
        if len(runs[number]) > 1:
            restarts += on.restarts(number)
        for run in runs[number][:-1]:
            again += 1
            killed_ms = on.killed_ms.get(run.pid)
            assert killed_ms is not None, f"job {number} ran again though process {run.pid} was not killed"
            if run.ended_ms is not None:
                late_ends.append(killed_ms - run.ended_ms)
                unsettled += killed_ms > on.settled_by_ms(run.ended_ms)
    # One in twenty may be the machine's doing: a thread of the worker that was not let on in time.
    assert 20 * unsettled <= again, f"{unsettled} of {again} that ran again had ended well before: {late_ends}"
    slowest = max(restarts, default=0.0)
    limit = on.lease_ms / 1000 + BEYOND_LEASE_SECONDS
    assert slowest <= limit, f"an orphan started again after {slowest:.1f} s, more than {limit:g} s"
    median = statistics.median(restarts) if restarts else 0.0
    return (
        f"none lost, {again} ran again, {len(late_ends)} of them had ended "
        f"(at most {max(late_ends, default=0.0):.1f} ms before); "
        f"orphans started again after {median:.1f} s (median), {slowest:.1f} s (longest); "
        f"lease {on.lease_ms / 1000:g} s"
    )


def frozen_workers(draw: random.Random, seconds: float) -> str:
    """Freeze every worker process, then let them go on: nobody is blamed, nothing runs twice."""
    with stage(seconds) as on:
        numbers = on.add(int(3_000 * min(1.0, seconds / 60)))
        time.sleep(draw.uniform(0.2, 0.8))
        frozen_seconds = max(seconds, 2.0 * on.lease_ms / 1000)
        for process in on.workers:
            process.freeze()
        time.sleep(frozen_seconds)
        for process in on.workers:
            process.thaw()
        on.settle()
        runs = on.runs()
        assert all(len(runs[number]) == 1 and runs[number][0].ended_ms for number in numbers), (
            "a job ran twice or never"
        )
        assert on.crashes() == 0, "a frozen worker was blamed"
        return f"{len(numbers)} jobs ran once, all workers frozen for {frozen_seconds:g} s, nobody blamed"


def frozen_one(draw: random.Random, seconds: float) -> str:
    """Freeze one of two for longer than its lease: its jobs run elsewhere, and it takes the blame back."""
    with stage(seconds) as on:
        numbers = on.add(400, run_ms=50.0)
        time.sleep(draw.uniform(0.2, 0.6))
        victim = on.workers[0]
        victim.freeze()
        deadline = time.monotonic() + on.lease_ms / 1000 + 2 * BEYOND_LEASE_SECONDS
        view = on.broker.view(QUEUE)
        while view.counts().completed < len(numbers):
            assert time.monotonic() < deadline, f"its jobs did not run elsewhere: {view.counts()}"
            time.sleep(0.05)
        recovered = view.counts().recovered
        victim.thaw()
        deadline = time.monotonic() + 10
        while view.counts().late < recovered:
            assert time.monotonic() < deadline, f"the crashes were not taken back: {view.counts()}"
            time.sleep(0.05)
        assert on.crashes() == 0
        counts = view.counts()
        assert (counts.completed, counts.failed) == (len(numbers), 0), counts
        return f"{recovered} jobs of the frozen worker ran elsewhere; its {counts.late} crashes were taken back"


def poison(draw: random.Random, seconds: float) -> str:
    """Add a job that kills its process beside 1,000 ordinary ones; restart what dies."""
    with stage(seconds) as on:
        actor = on.broker.get_actor("poison")
        at = draw.randrange(1_000)
        on.add(at, run_ms=5.0)
        killer = actor.message(0)
        on.broker.enqueue(killer)
        work = on.broker.get_actor("work")
        on.broker.enqueue_many([(work.message(number, 5.0), 0) for number in range(at + 1, 1_001)])
        on.settle()
        view = on.broker.view(QUEUE)
        told = view.get(killer.message_id)
        assert told is not None
        assert told.state == "failed", told.state
        assert told.reason() == "lost its worker 3 times", told.reason()
        runs = on.runs()
        assert len(runs[0]) == 3, f"the poison ran {len(runs[0])} times"
        lost = [number for number in range(1, 1_001) if not any(run.ended_ms for run in runs[number])]
        assert not lost, f"lost beside the poison: {lost[:10]}"
        counts = view.counts()
        assert counts.failed == 1, counts
        most = max(len(runs[number]) for number in range(1, 1_001))
        return f"the poison failed after 3 crashes, 1000 others completed; one of them began at most {most} times"


def _lease_ms(seconds: float) -> int:
    """Return the lease of a proof: the real one in a run of a minute, shorter in a short one."""
    return int(min(15_000, max(1_000, seconds * 250)))
