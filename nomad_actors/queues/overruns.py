"""Jobs that run longer than their job type's time limit allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..broker.client.steps import Steps
from .across_queues import read_each
from .job import Job
from .queue import Queue
from .registry import Queues
from .snapshot import QueueSnapshot


@dataclass(frozen=True)
class Overrun:
    """A job that runs longer than its job type's time limit allows."""

    job: Job
    ran_ms: int
    limit_ms: int

    @property
    def over_ms(self) -> int:
        return self.ran_ms - self.limit_ms


def read_overruns(queues: Queues, snapshots: Sequence[QueueSnapshot]) -> Mapping[str, list[Overrun]]:
    """Return by queue the jobs that run longer than their time limit on a live worker, the longest-running first.

    Running jobs are read only from queues whose longest-running job exceeds the shortest limit.
    """
    suspected = {
        snapshot.name: snapshot
        for snapshot in snapshots
        if (snapshot.longest_active_ms or 0) > min(_limits_ms(snapshot).values(), default=math.inf)
    }

    def reading(queue: Queue) -> Steps[list[Job]]:
        return queue.reading_page("active", 0, -1, suspected[queue.name].facts.worker_names)

    running = read_each(queues, reading, names=suspected)
    return {name: _overruns(suspected[name], jobs) for name, jobs in running.items()}


def _overruns(snapshot: QueueSnapshot, running: Sequence[Job]) -> list[Overrun]:
    longest_ms, limits_ms = snapshot.longest_active_ms, _limits_ms(snapshot)
    active = [(job, job.processed_on_ms) for job in running if job.processed_on_ms is not None]
    # Redis reports how long the longest one runs. Measure the others from it, so that our host's clock does not matter.
    first_ms = min((since_ms for _, since_ms in active), default=0)
    runs = [(job, (longest_ms or 0) - (since_ms - first_ms)) for job, since_ms in active]
    found = [Overrun(job, ran_ms, limits_ms[job.name]) for job, ran_ms in runs if job.name in limits_ms]
    # Nobody can cancel the jobs of lost workers, and another worker recovers them.
    live = {worker.name for worker in snapshot.workers}
    return [overrun for overrun in found if overrun.over_ms > 0 and overrun.job.worker in live]


def _limits_ms(snapshot: QueueSnapshot) -> dict[str, int]:
    return {job_type.name: job_type.time_limit_ms for job_type in snapshot.job_types}
