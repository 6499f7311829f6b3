"""The application under examination, and its state, read once for all checks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..broker import JobBroker
from ..broker.client.server import ServerFacts
from ..broker.errors import WrongKeyType
from ..clock import Clock
from ..esi.limits import LimitsState, open_limiter
from ..esi.spec_check import SpecCheck, read_check
from ..queues import Queues
from ..queues.across_queues import read_snapshots
from ..queues.job import Job
from ..queues.overruns import Overrun, read_overruns
from ..queues.snapshot import QueueSnapshot, readable
from ..scheduler.status import SchedulerSnapshot, read_scheduler
from ..settings import Settings
from ..store.database import Database
from ..thresholds import ALERTS, DOCTOR, DoctorThresholds

#: A person waits for the result.
_LIMITS_MS = 2_000

#: The first jobs of a queue by state.
Sample = Mapping[str, Sequence[Job]]


@dataclass(frozen=True)
class Installation:
    """The parts of an application that checks may use, and its state; reading that raises `Unavailable`."""

    settings: Settings
    clock: Clock
    broker: JobBroker
    queues: Queues
    limits: DoctorThresholds = DOCTOR
    #: An open database; if None, the check opens one.
    database: Database | None = None
    #: The window of the statistics.
    window_seconds: int = ALERTS.drain_window_seconds

    @cached_property
    def server(self) -> ServerFacts:
        return self.broker.server()

    @cached_property
    def snapshots(self) -> Sequence[QueueSnapshot]:
        """The state of every queue, including those that cannot be read."""
        return read_snapshots(self.queues, window_seconds=self.window_seconds)

    @property
    def readable(self) -> Sequence[QueueSnapshot]:
        return readable(self.snapshots)

    @cached_property
    def scheduler(self) -> SchedulerSnapshot:
        return read_scheduler(self.queues)

    @cached_property
    def esi_limits(self) -> tuple[LimitsState, SpecCheck | None]:
        """What stops requests to ESI and SSO now, and the last comparison with CCP's documents."""
        limiter = open_limiter(self.settings, self.clock, deadline_ms=_LIMITS_MS)
        with contextlib.closing(limiter.client):
            return limiter.state(), read_check(limiter.client)

    @cached_property
    def overruns(self) -> Mapping[str, Sequence[Overrun]]:
        """The jobs that run longer than their time limit, by queue."""
        return read_overruns(self.queues, self.readable)

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """The first waiting, delayed and failed jobs, by queue: the states in which a job's type matters."""
        # Also delayed: a worker that does not know a job's type defers it, because another worker may know it.
        states_to_read = [
            (snapshot.name, state)
            for snapshot in self.readable
            for state in ("paused" if snapshot.is_paused else "waiting", "delayed", "failed")
        ]
        last = self.limits.sample_jobs - 1
        readings = [self.queues.get_queue(name).reading_page(state, 0, last) for name, state in states_to_read]
        samples: dict[str, dict[str, Sequence[Job]]] = {}
        for (name, state), jobs in zip(states_to_read, self.broker.read_together(readings), strict=True):
            samples.setdefault(name, {})[state] = [] if isinstance(jobs, WrongKeyType) else jobs
        return samples
