"""The system in an empty directory, as in the README: each of its processes is killed, then all at once.

Nothing is lost: every accepted job is in an expected state, completed jobs ran, and pauses, limits,
schedules, kept jobs and statistics are unchanged.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nomad_actors.errors import Unavailable
from nomad_actors.queues import Queues
from nomad_actors.scheduler import Schedules
from sandbox.serve import SandboxServer

from . import kept_state
from .kept_jobs import KEPT, KEPT_PAUSED
from .user_system import UserSystem

#: A shorter proof kills only Redis, the supervisor, and all at once, and the jobs of killed workers need not have been
#: recovered at the end.
SHORT_SECONDS = 10.0
SETTLE_SECONDS = 90.0
#: First number of the jobs of the load.
FIRST = 10_000


def as_users_run_it(draw: random.Random, seconds: float) -> str:
    """Kill every process of `nomad run all` in turn, then all at once, while jobs are added; nothing may be lost."""
    with tempfile.TemporaryDirectory() as temporary, SandboxServer(seed=3, characters=2) as sandbox:
        directory = Path(temporary) / "empty"
        directory.mkdir()
        with UserSystem(directory, sandbox.base_url) as system:
            return run(system, draw, seconds)


def run(system: UserSystem, draw: random.Random, seconds: float) -> str:
    """Run the proof on a started system."""
    with system.open_access() as access:
        schedules = Schedules(access.queues)
        kept_state.fill(access.queues, schedules, 0)
        before = _fixed_state(access.queues, schedules)
        with Load(access.queues, draw) as load:
            kills = _kill_repeatedly(system, draw, seconds, load)
        short = seconds < SHORT_SECONDS
        _wait_until_ended(system, access.queues, short=short)
        differences = kept_state.public_differences(before, _fixed_state(access.queues, schedules))
        assert not differences, "\n".join(differences)
        summary = _check_jobs(system, access.queues, load, may_be_active=short)
    unexpected_lines = system.unexpected_lines()
    assert not unexpected_lines, "\n".join(unexpected_lines[:10])
    return f"{summary}; killed: {', '.join(f'{name} {count}' for name, count in kills.items())}"


def _kill_repeatedly(system: UserSystem, draw: random.Random, seconds: float, load: Load) -> Counter[str]:
    """Kill each process in random order, then all at once; repeat until the time is over."""
    kills: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while not kills or time.monotonic() < end:
        names = ["redis", "supervisor"]
        if seconds >= SHORT_SECONDS:
            names += ["worker", "workers", "scheduler", "admin"]
        draw.shuffle(names)
        for name in [*names, "all"]:
            _kill(system, name)
            kills[name] += 1
            load.wait_for_more(system)
            time.sleep(draw.uniform(0.0, min(0.3, seconds / 20)))
        number = load.next_number()
        # Also add a job with the command line.
        job_id = system.command("enqueue", KEPT.name, "--number", str(number)).split()[-1]
        load.accepted[job_id] = number
    return kills


def _kill(system: UserSystem, name: str) -> None:
    if name == "worker":
        psutil.Process(system.worker_pid()).kill()
    elif name == "supervisor":
        system.kill_supervisor()
        system.start()
    elif name == "all":
        system.kill_all()
        system.start()
    else:
        system.kill(name)


@dataclass
class Load:
    """Adds jobs in a thread and records those that were accepted."""

    queues: Queues
    draw: random.Random
    #: Numbers of the accepted jobs by id.
    accepted: dict[str, int] = field(default_factory=dict)
    #: How many jobs may or may not have been accepted.
    uncertain: int = 0
    _number: int = FIRST
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def next_number(self) -> int:
        """Return an unused number."""
        with self._lock:
            self._number += 1
            return self._number

    def wait_for_more(self, system: UserSystem) -> None:
        """Wait until another job has been accepted."""
        count = len(self.accepted)
        system.wait(lambda: len(self.accepted) > count, "a job to be accepted")

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            number = self.next_number()
            data = {"number": number, "seconds": 0.01 * (number % 5)}
            delay = 500 if number % 7 == 0 else 0
            try:
                self.accepted[self.queues.add_job(KEPT.queue, KEPT.name, data, delay=delay).id] = number
            except Unavailable:
                self.uncertain += 1


def _fixed_state(queues: Queues, schedules: Schedules) -> dict[str, object]:
    """Return the state that the load does not change."""
    paused, kept = queues.get_queue(KEPT_PAUSED.queue), queues.get_queue(KEPT.queue)
    seen = kept_state.view(queues, schedules)
    older = [job for job in kept.jobs(["delayed", "failed"], 0, 100) if job.data["number"] < FIRST]
    own = [state for state in schedules.all() if state.schedule.queue == KEPT_PAUSED.queue]
    return {
        "the paused queue": seen[paused.name],
        "kept jobs": sorted((job.id, job.status, str(job.failed_reason)) for job in older),
        "limits": kept.snapshot().limits,
        "schedules": [state.schedule for state in own],
        "slots": schedules.slots_of(own),
        "failures": kept.failures(),
    }


def _wait_until_ended(system: UserSystem, queues: Queues, *, short: bool) -> None:
    """Wait until all jobs have ended; the short form does not wait for jobs of killed workers."""
    queue = queues.get_queue(KEPT.queue)
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        counts = queue.counts()
        due = [job for job in queue.jobs("delayed", 0, 999) if job.data["number"] >= FIRST]
        if not counts["waiting"] + len(due) + (0 if short else counts["active"]):
            return
        assert time.monotonic() < deadline, f"not done after {SETTLE_SECONDS:g} s: {counts}; {system.output()}"
        time.sleep(0.1)


def _check_jobs(system: UserSystem, queues: Queues, load: Load, *, may_be_active: bool) -> str:
    """Check the state and the ledger entry of every accepted job, and the statistics."""
    ran = Counter(int(line) for line in system.ledger.read_bytes().split())
    queue = queues.get_queue(KEPT.queue)
    lost, unexpected = [], []
    expected_states = {"completed", "active"} if may_be_active else {"completed"}
    for job_id, number in load.accepted.items():
        job = queue.get(job_id)
        if job is None:
            lost.append(number)
        elif job.status not in expected_states or (job.status == "completed" and not ran[number]):
            unexpected.append((number, job.status, job.failed_reason))
    assert not lost, f"lost: {lost[:10]}, {len(lost)} of {len(load.accepted)}"
    assert not unexpected, f"in an unexpected state: {unexpected[:10]}"
    completed, counted = queue.counts()["completed"], queue.snapshot().stats().completed
    assert counted == completed, f"{completed} jobs completed, but {counted} were counted"
    reruns = sum(times - 1 for times in ran.values())
    return (
        f"{len(load.accepted)} jobs accepted, {load.uncertain} possibly accepted, none lost, {reruns} ran again, "
        f"{completed} completed and counted"
    )
