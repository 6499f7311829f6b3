"""A plain Python model of one queue, written from the documentation; the scripts are compared with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

#: A job fails when it loses its worker this often.
CRASHES = 3

FINISHED = ("completed", "failed")


@dataclass
class Lease:
    """A lease: the parts of its token, the job's position in waiting, and the reason of a requested cancel."""

    worker: bytes
    request: int
    number: int
    position: tuple[int, int]
    cancel: str = ""

    @property
    def token(self) -> tuple[bytes, int, int]:
        """The token of this lease."""
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
    #: The job added under its id while it ran, which begins when it has ended: call, priority, is delayed, body.
    next: tuple[bytes, int, bool, str] | None = None
    #: Its position in waiting: priority, then the order of arrival.
    position: tuple[int, int] = (0, 0)
    #: When it is due while it is delayed: jobs that were made due come first.
    due: tuple[int, int] = (0, 0)
    ended: int = 0
    lease: Lease | None = None
    settled_by: tuple[bytes, int, int] | None = None
    timeline: list[str] = field(default_factory=lambda: ["enqueued"])
    #: Lost leases whose crash still counts.
    counted_losses: set[tuple[bytes, int, int]] = field(default_factory=set)
    log: list[str] = field(default_factory=list)


@dataclass
class Model:
    """The queue."""

    jobs: dict[str, Job] = field(default_factory=dict)
    paused: bool = False
    limit: int | None = None
    keep_completed: int = 1_000
    keep_failed: int = 10_000
    outcomes: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    late: int = 0
    lost_permanently: int = 0
    #: Delayed jobs whose delay began when another job ended, so no step set its length.
    postponed: list[str] = field(default_factory=list)
    requests: dict[bytes, int] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    _arrivals: int = 0
    _ends: int = 0
    _one_instant: bool = False
    _delays: int = 0

    # Reading.

    def in_state(self, state: str) -> list[Job]:
        """Return the jobs of a state in the order of its list."""
        found = [job for job in self.jobs.values() if job.state == state]
        order = {
            "waiting": lambda job: job.position,
            "delayed": lambda job: job.due,
            "completed": lambda job: (job.ended, job.id),
            "failed": lambda job: (job.ended, job.id),
        }
        newest_first = state in FINISHED
        return sorted(found, key=order[state], reverse=newest_first) if state in order else found

    def holder(self, job_id: str) -> Lease | None:
        """Return a job's lease."""
        job = self.jobs.get(job_id)
        return job.lease if job else None

    # Callers.

    def enqueue(self, job_id: str, call: bytes, priority: int, delayed: bool, body: str) -> str:
        """Add a job; return its state, or that of the existing job."""
        job = self.jobs.get(job_id)
        if job and (job.call == call or job.state in ("waiting", "delayed")):
            return job.state
        if job and job.state == "active":
            # A second call finds the first, which has not begun.
            job.next = job.next or (call, priority, delayed, body)
            return "active"
        fresh = Job(job_id, call, priority, body=body)
        if job:
            fresh.timeline = [*job.timeline, "enqueued"]
            fresh.counted_losses = set()
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
        job.state, job.position, job.lease = "waiting", (job.priority, self._arrivals), None

    def _delay(self, job: Job) -> None:
        self._delays += 1
        job.state, job.due, job.lease = "delayed", (1, self._delays), None

    def make_due(self, job_id: str) -> int:
        """Make a delayed job due; return its order among due jobs."""
        self._delays += 1
        self.jobs[job_id].due = (0, self._delays)
        return self._delays

    def promote(self, job_id: str) -> None:
        """Make a delayed job waiting."""
        job = self.jobs.get(job_id)
        if job and job.state == "delayed":
            job.timeline.append("promoted")
            self._append(job)

    def retry(self, job_id: str) -> None:
        """Put a finished job back to waiting with all its attempts."""
        job = self.jobs.get(job_id)
        if job and job.state in FINISHED:
            job.attempts = job.crashes = 0
            job.counted_losses = set()
            job.skipped = job.cancelled = False
            job.timeline.append("enqueued")
            job.log = []
            self._append(job)

    def cancel(self, job_id: str, reason: str) -> None:
        """Cancel a job, or request the cancel of a running one."""
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
        self.outcomes["cancelled"] += 1

    def remove(self, job_id: str) -> None:
        """Remove a job that is not running."""
        job = self.jobs.get(job_id)
        if job and job.state != "active":
            del self.jobs[job_id]

    def clean(self, state: str, limit: int) -> None:
        """Remove the oldest finished jobs."""
        for job in self.in_state(state)[::-1][:limit]:
            del self.jobs[job.id]

    # Workers.

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
        for job in self.in_state("delayed"):
            if job.due[0] == 0:
                self._append(job)
        take = 0 if self.paused else free
        if self.limit is not None:
            take = max(0, min(take, self.limit - len(self.in_state("active"))))
        taken: list[str] = []
        for job in self.in_state("waiting"):
            if len(taken) == take:
                break
            if job.crashes and not suspects:
                continue
            suspects -= job.crashes > 0
            taken.append(job.id)
            job.state, job.lease = "active", Lease(worker, request, len(taken), job.position)
        return sorted(taken)

    def settle(self, job_id: str, token: tuple[bytes, int, int], outcome: str) -> str:
        """End a lease; return the worker's reply."""
        job = self.jobs.get(job_id)
        if job is None:
            return "gone"
        if job.lease is None or job.lease.token != token:
            if job.settled_by == token:
                return "already"
            self._undo_crash(job, token)
            return "fenced"
        result, lease = "ok", job.lease
        if lease.cancel and outcome not in ("completed", "skipped"):
            outcome, result = "cancelled", "cancelled"
        job.settled_by, job.lease = token, None
        job.timeline.append("started")
        self.outcomes[outcome] += 1
        if outcome == "released":
            job.timeline.append("released")
            job.state, job.position = "waiting", lease.position
        elif outcome == "deferred":
            job.timeline.append("deferred")
            self._delay(job)
        else:
            job.attempts += 1
            self._end(job, outcome)
        return result

    def _end(self, job: Job, outcome: str) -> None:
        if outcome == "retried":
            job.timeline.append("retry")
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

    def _finish(self, job: Job, state: str, event: str) -> None:
        job.timeline.append(event)
        if job.next is not None:
            job.call, job.priority, delayed, job.body = job.next
            job.next = None
            job.skipped = job.cancelled = False
            job.attempts = job.crashes = 0
            job.counted_losses = set()
            job.log = []
            job.timeline.append("enqueued")
            self._wait_or_delay(job, delayed)
            self.postponed += [job.id] * delayed
            return
        self._ends += not self._one_instant
        job.state, job.ended, job.lease = state, self._ends, None

    def trim(self, most: int) -> None:
        """Remove the oldest finished jobs beyond the retention, at most `most` per state."""
        for state, most_kept in (("completed", self.keep_completed), ("failed", self.keep_failed)):
            oldest = self.in_state(state)[::-1]
            excess = min(most, max(0, len(oldest) - most_kept))
            cancelled = [job for job in oldest if job.cancelled]
            # Cancelled jobs are removed first, down to a tenth of the retention.
            first = cancelled[: max(0, min(excess, len(cancelled) - most_kept // 10))]
            others = [job for job in oldest if job not in first]
            for job in (*first, *others[: excess - len(first)]):
                del self.jobs[job.id]

    def _undo_crash(self, job: Job, token: tuple[bytes, int, int]) -> None:
        if job.crashes and token in job.counted_losses:
            job.counted_losses.discard(token)
            job.crashes -= 1
            job.timeline.append("late")
            self.late += 1

    def beat(
        self, worker: bytes, answered: int, named: dict[str, tuple[bytes, int, int]], silent: set[bytes], *, trims: bool
    ) -> tuple[set[str], set[str]]:
        """Process a heartbeat; return the named jobs that the worker has lost, and those to cancel."""
        self.known.add(worker)
        self.requests[worker] = max(self.requests.get(worker, 0), answered)
        lost, cancelled = set(), set()
        before = {job_id: job.lease for job_id, job in self.jobs.items() if job.lease}
        for job_id, token in named.items():
            lease = before.get(job_id)
            if lease is None or lease.token != token:
                lost.add(job_id)
                if job_id in self.jobs:
                    self._undo_crash(self.jobs[job_id], token)
            elif lease.cancel:
                cancelled.add(job_id)
        # Recover jobs in the order of starting; all that end in one heartbeat end at the same instant.
        self._ends += 1
        self._one_instant = True
        for job_id, lease in sorted(before.items(), key=lambda item: item[1].position):
            if lease.worker == worker:
                if lease.token not in named.values() and lease.request <= answered:
                    self._recover(self.jobs[job_id], lease, counts_crash=False)
            elif lease.worker not in self.known:
                self.known.add(lease.worker)
            elif lease.worker in silent:
                self._recover(self.jobs[job_id], lease, counts_crash=True)
        self._one_instant = False
        if trims:
            self.trim(500)
        return lost, cancelled

    def leave(self, worker: bytes) -> None:
        """Process the message of a stopping worker."""
        self.known.discard(worker)
        self.requests.pop(worker, None)

    def _recover(self, job: Job, lease: Lease, *, counts_crash: bool) -> None:
        job.timeline += ["started", "recovered"]
        self.recovered += 1
        self.outcomes["recovered"] += 1
        job.lease = None
        if counts_crash:
            job.crashes += 1
            job.counted_losses.add(lease.token)
        if lease.cancel:
            self.outcomes["cancelled"] += 1
            self._cancelled(job)
        elif counts_crash and job.crashes >= CRASHES:
            self.lost_permanently += 1
            self.outcomes["failed"] += 1
            self._finish(job, "failed", "failed")
        else:
            job.state, job.position = "waiting", lease.position

    def report(self, job_id: str, token: tuple[bytes, int, int], line: str) -> None:
        """Add a line to a running job's log."""
        job = self.jobs.get(job_id)
        if job and job.lease and job.lease.token == token:
            job.log.append(line)
