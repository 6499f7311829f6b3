"""What is examined: the parts of an application, and what is read of them, once for all checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..broker import JobBroker
from ..broker.client.server import ServerFacts
from ..broker.errors import WrongKeyType
from ..clock import Clock
from ..queues import Queues
from ..queues.across_queues import read_snapshots
from ..queues.job import Job
from ..queues.overruns import Overrun, read_overruns
from ..queues.snapshot import QueueSnapshot, readable
from ..scheduler.status import SchedulerSnapshot, read_scheduler
from ..settings import Settings
from ..store.database import Database
from ..thresholds import ALERTS, DOCTOR, DoctorThresholds

#: The first jobs of a queue by state.
Sample = Mapping[str, Sequence[Job]]


@dataclass(frozen=True)
class Installation:
    """What is examined: the parts of an application that a check may ask, and what was read of them.

    What is read raises `Unavailable` when Redis does not answer.
    """

    settings: Settings
    clock: Clock
    broker: JobBroker
    queues: Queues
    limits: DoctorThresholds = DOCTOR
    #: An open database to ask; without it one is opened for the check.
    database: Database | None = None
    #: The statistics of how long are read.
    window_seconds: int = ALERTS.drain_window_seconds

    @cached_property
    def server(self) -> ServerFacts:
        """What the Redis server says of itself."""
        return self.broker.server().facts()

    @cached_property
    def snapshots(self) -> Sequence[QueueSnapshot]:
        """The state of every queue, also of those that cannot be read."""
        return read_snapshots(self.queues, window_seconds=self.window_seconds)

    @property
    def readable(self) -> Sequence[QueueSnapshot]:
        """The state of the queues that can be read."""
        return readable(self.snapshots)

    @cached_property
    def scheduler(self) -> SchedulerSnapshot:
        """The schedules and the schedulers."""
        return read_scheduler(self.queues, self.clock)

    @cached_property
    def overruns(self) -> Mapping[str, Sequence[Overrun]]:
        """By queue the jobs that run longer than their time limit."""
        return read_overruns(self.queues, self.readable)

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """By queue the first jobs that wait, are delayed and failed: of the states in which a job's type matters."""
        # Delayed too: a worker that does not know a job's type puts it off, for another may know it.
        wanted = [
            (snapshot.name, state)
            for snapshot in self.readable
            for state in ("paused" if snapshot.is_paused else "waiting", "delayed", "failed")
        ]
        last = self.limits.sample_jobs - 1
        readings = [self.queues.get_queue(name).reading_page(state, 0, last) for name, state in wanted]
        samples: dict[str, dict[str, Sequence[Job]]] = {}
        for (name, state), jobs in zip(wanted, self.broker.read_together(readings), strict=True):
            samples.setdefault(name, {})[state] = [] if isinstance(jobs, WrongKeyType) else jobs
        return samples
