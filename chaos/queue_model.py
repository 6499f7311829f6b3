"""One queue in plain Python, written from what the documentation promises: what the scripts are compared with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

#: How many losses of its worker a job survives.
CRASHES = 3

FINISHED = ("completed", "failed")


@dataclass
class Lease:
    """Who runs a job: the token's parts, the job's place in waiting, and why it shall be cancelled."""

    worker: bytes
    request: int
    number: int
    place: tuple[int, int]
    cancel: str = ""

    @property
    def token(self) -> tuple[bytes, int, int]:
        """What names this lease."""
        return self.worker, self.request, self.number


@dataclass
class Job:
    """One job."""

    id: str
    call: bytes
    priority: int
    state: str = ""
    body: str = ""
    attempts: int = 0
    crashes: int = 0
    skipped: bool = False
    cancelled: bool = False
    #: What was added anew while it ran, and begins when it has ended: call, priority, whether delayed, body.
    next: tuple[bytes, int, bool, str] | None = None
    #: Its place in waiting: priority, then the order of arrival.
    place: tuple[int, int] = (0, 0)
    #: When it is due, while it is delayed: "far" jobs after all that were moved.
    due: tuple[int, int] = (0, 0)
    ended: int = 0
    lease: Lease | None = None
    settled_by: tuple[bytes, int, int] | None = None
    story: list[str] = field(default_factory=lambda: ["enqueued"])
    #: The lost leases whose crash still counts.
    blamed: set[tuple[bytes, int, int]] = field(default_factory=set)
    log: list[str] = field(default_factory=list)


@dataclass
class Model:
    """The queue."""

    jobs: dict[str, Job] = field(default_factory=dict)
    paused: bool = False
    limit: int | None = None
    keep_completed: int = 1_000
    keep_failed: int = 10_000
    tally: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    late: int = 0
    lost_for_good: int = 0
    #: Delayed jobs whose delay began with another job's end, not with a step that told how long it is.
    put_off: list[str] = field(default_factory=list)
    requests: dict[bytes, int] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    _arrivals: int = 0
    _ends: int = 0
    _one_instant: bool = False
    _delays: int = 0

    # Looking.

    def of(self, state: str) -> list[Job]:
        """Return one state's jobs in the order in which they are listed."""
        found = [job for job in self.jobs.values() if job.state == state]
        order = {
            "waiting": lambda job: job.place,
            "delayed": lambda job: job.due,
            "completed": lambda job: (job.ended, job.id),
            "failed": lambda job: (job.ended, job.id),
        }
        newest_first = state in FINISHED
        return sorted(found, key=order[state], reverse=newest_first) if state in order else found

    def holder(self, job_id: str) -> Lease | None:
        """Return who runs a job."""
        job = self.jobs.get(job_id)
        return job.lease if job else None

    # What callers do.

    def enqueue(self, job_id: str, call: bytes, priority: int, delayed: bool, body: str) -> str:
        """Add a job, or find the one that stands."""
        job = self.jobs.get(job_id)
        if job and (job.call == call or job.state in ("waiting", "delayed")):
            return job.state
        if job and job.state == "active":
            # A second one is to find the first, which has not begun.
            job.next = job.next or (call, priority, delayed, body)
            return "active"
        fresh = Job(job_id, call, priority, body=body)
        if job:
            fresh.story = [*job.story, "enqueued"]
            fresh.blamed = set()
        self.jobs[job_id] = fresh
        self._wait_or_delay(fresh, delayed)
        return fresh.state

    def _wait_or_delay(self, job: Job, delayed: bool) -> None:
        if delayed:
            self._delay(job)
        else:
            self._append(job)

    def _append(self, job: Job) -> None:
        self._arrivals += 1
        job.state, job.place, job.lease = "waiting", (job.priority, self._arrivals), None

    def _delay(self, job: Job) -> None:
        self._delays += 1
        job.state, job.due, job.lease = "delayed", (1, self._delays), None

    def come_due(self, job_id: str) -> int:
        """Let a delayed job's time have come; return its order among those."""
        self._delays += 1
        self.jobs[job_id].due = (0, self._delays)
        return self._delays

    def promote(self, job_id: str) -> None:
        """Put a delayed job to waiting now."""
        job = self.jobs.get(job_id)
        if job and job.state == "delayed":
            job.story.append("promoted")
            self._append(job)

    def again(self, job_id: str) -> None:
        """Run a finished job afresh."""
        job = self.jobs.get(job_id)
        if job and job.state in FINISHED:
            job.attempts = job.crashes = 0
            job.blamed = set()
            job.skipped = job.cancelled = False
            job.story.append("enqueued")
            job.log = []
            self._append(job)

    def cancel(self, job_id: str, reason: str) -> None:
        """End a job as cancelled, or ask for it."""
        job = self.jobs.get(job_id)
        if job is None or job.state in FINISHED:
            return
        if job.state == "active":
            assert job.lease is not None
            job.next = job.next if job.lease.cancel else None
            job.lease.cancel = reason
            return
        job.next = None
        self._cancelled(job)
        self.tally["cancelled"] += 1

    def remove(self, job_id: str) -> None:
        """Remove a job that does not run."""
        job = self.jobs.get(job_id)
        if job and job.state != "active":
            del self.jobs[job_id]

    def clean(self, state: str, limit: int) -> None:
        """Remove the oldest finished jobs."""
        for job in self.of(state)[::-1][:limit]:
            del self.jobs[job.id]

    # What workers do.

    def start(self, worker: bytes, request: int, free: int, suspects: int) -> list[str]:
        """Lease the first jobs to a worker; return their ids."""
        self.known.add(worker)
        last = self.requests.get(worker, 0)
        if request <= last:
            same = [
                j for j in self.jobs.values() if j.lease and j.lease.worker == worker and j.lease.request == request
            ]
            return sorted(job.id for job in same) if request == last else []
        self.requests[worker] = request
        for job in self.of("delayed"):
            if job.due[0] == 0:
                self._append(job)
        take = 0 if self.paused else free
        if self.limit is not None:
            take = max(0, min(take, self.limit - len(self.of("active"))))
        taken: list[str] = []
        for job in self.of("waiting"):
            if len(taken) == take:
                break
            if job.crashes and not suspects:
                continue
            suspects -= job.crashes > 0
            taken.append(job.id)
            job.state, job.lease = "active", Lease(worker, request, len(taken), job.place)
        return sorted(taken)

    def settle(self, job_id: str, token: tuple[bytes, int, int], outcome: str) -> str:
        """End a lease; return what the worker is told."""
        job = self.jobs.get(job_id)
        if job is None:
            return "gone"
        if job.lease is None or job.lease.token != token:
            if job.settled_by == token:
                return "already"
            self._take_back(job, token)
            return "fenced"
        word, lease = "ok", job.lease
        if lease.cancel and outcome not in ("completed", "skipped"):
            outcome, word = "cancelled", "cancelled"
        job.settled_by, job.lease = token, None
        job.story.append("started")
        self.tally[outcome] += 1
        if outcome == "released":
            job.story.append("released")
            job.state, job.place = "waiting", lease.place
        elif outcome == "deferred":
            job.story.append("deferred")
            self._delay(job)
        else:
            job.attempts += 1
            self._end(job, outcome)
        return word

    def _end(self, job: Job, outcome: str) -> None:
        if outcome == "retried":
            job.story.append("retry")
            self._delay(job)
            return
        if outcome == "cancelled":
            self._cancelled(job)
        else:
            job.skipped = job.skipped or outcome == "skipped"
            self._finish(job, "failed" if outcome == "failed" else "completed", outcome)
        self.trim(2)

    def _cancelled(self, job: Job) -> None:
        job.cancelled = True
        self._finish(job, "failed", "cancelled")

    def _finish(self, job: Job, state: str, told: str) -> None:
        job.story.append(told)
        if job.next is not None:
            job.call, job.priority, delayed, job.body = job.next
            job.next = None
            job.skipped = job.cancelled = False
            job.attempts = job.crashes = 0
            job.blamed = set()
            job.log = []
            job.story.append("enqueued")
            self._wait_or_delay(job, delayed)
            self.put_off += [job.id] * delayed
            return
        self._ends += not self._one_instant
        job.state, job.ended, job.lease = state, self._ends, None

    def trim(self, most: int) -> None:
        """Drop the oldest finished jobs beyond what is kept, at most so many of each state."""
        for state, keep in (("completed", self.keep_completed), ("failed", self.keep_failed)):
            oldest = self.of(state)[::-1]
            excess = min(most, max(0, len(oldest) - keep))
            cancelled = [job for job in oldest if job.cancelled]
            # Those that were cancelled go first, down to a tenth of what is kept.
            first = cancelled[: max(0, min(excess, len(cancelled) - keep // 10))]
            others = [job for job in oldest if job not in first]
            for job in (*first, *others[: excess - len(first)]):
                del self.jobs[job.id]

    def _take_back(self, job: Job, token: tuple[bytes, int, int]) -> None:
        if job.crashes and token in job.blamed:
            job.blamed.discard(token)
            job.crashes -= 1
            job.story.append("late")
            self.late += 1

    def beat(
        self, worker: bytes, answered: int, named: dict[str, tuple[bytes, int, int]], silent: set[bytes], *, trims: bool
    ) -> tuple[set[str], set[str]]:
        """Hear a worker, and tick; return which of the named it lost, and which shall be cancelled."""
        self.known.add(worker)
        self.requests[worker] = max(self.requests.get(worker, 0), answered)
        lost, cancelled = set(), set()
        before = {job_id: job.lease for job_id, job in self.jobs.items() if job.lease}
        for job_id, token in named.items():
            lease = before.get(job_id)
            if lease is None or lease.token != token:
                lost.add(job_id)
                if job_id in self.jobs:
                    self._take_back(self.jobs[job_id], token)
            elif lease.cancel:
                cancelled.add(job_id)
        # What was to start first is recovered first, and what ends in one tick ends at one instant.
        self._ends += 1
        self._one_instant = True
        for job_id, lease in sorted(before.items(), key=lambda item: item[1].place):
            if lease.worker == worker:
                if lease.token not in named.values() and lease.request <= answered:
                    self._recover(self.jobs[job_id], lease, blame=False)
            elif lease.worker not in self.known:
                self.known.add(lease.worker)
            elif lease.worker in silent:
                self._recover(self.jobs[job_id], lease, blame=True)
        self._one_instant = False
        if trims:
            self.trim(500)
        return lost, cancelled

    def leave(self, worker: bytes) -> None:
        """Hear that a worker goes."""
        self.known.discard(worker)
        self.requests.pop(worker, None)

    def _recover(self, job: Job, lease: Lease, *, blame: bool) -> None:
        job.story += ["started", "recovered"]
        self.recovered += 1
        self.tally["recovered"] += 1
        job.lease = None
        if blame:
            job.crashes += 1
            job.blamed.add(lease.token)
        if lease.cancel:
            self.tally["cancelled"] += 1
            self._cancelled(job)
        elif blame and job.crashes >= CRASHES:
            self.lost_for_good += 1
            self.tally["failed"] += 1
            self._finish(job, "failed", "failed")
        else:
            job.state, job.place = "waiting", lease.place

    def report(self, job_id: str, token: tuple[bytes, int, int], line: str) -> None:
        """Keep a line of a running job's log."""
        job = self.jobs.get(job_id)
        if job and job.lease and job.lease.token == token:
            job.log.append(line)
