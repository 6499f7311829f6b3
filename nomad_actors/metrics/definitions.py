"""Every metric that the processes count themselves (docs/metrics.md), in registries of our own."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from ..version import __version__

# `_created` doubles the series and no query of ours reads it. The switch is the library's: it counts for the
# whole process.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: The metrics of every process.
REGISTRY: Final = CollectorRegistry()
#: The metrics of a scheduler; a 0 from other services would look like a stopped scheduler.
SCHEDULER: Final = CollectorRegistry()

#: Outcomes of a token refresh: a new token; a dead login; wrong settings of ours; an SSO that does not answer.
TOKEN_REFRESH_OUTCOMES: Final = ("refreshed", "dead_login", "misconfigured", "unavailable")

#: The statuses of which each endpoint group has a series from the start; "network" means no response.
ESI_STATUSES: Final = ("200", "304", "400", "401", "403", "404", "420", "429", "500", "502", "503", "504", "network")

# Edges lie on the promises: the time limits of the job types (60, 120, 300 and 600 s) and, for waiting, the pick-up
# of an idle worker (3 and 10 ms) and of an urgent job (20 ms). Between them steps of about two to four.
DURATION_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
WAIT_BUCKETS: Final = (0.003, 0.01, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
ESI_BUCKETS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class BatchHistogram(Histogram):
    """A histogram that observes many values at once, which would cost as much as a small job one by one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe every amount, and write each bucket once."""
        if len(amounts) < 2:
            for amount in amounts:
                self.observe(amount)
            return
        self._raise_if_not_observable()  # type: ignore[no-untyped-call]
        self._sum.inc(sum(amounts))
        # The first bound that is not below the amount, as in `observe`; the last bound is infinite.
        for bucket, count in Counts(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


JOBS_ENQUEUED: Final = Counter(
    "nomad_jobs_enqueued_total", "Jobs added to a queue.", ("queue", "actor"), registry=REGISTRY
)
JOB_DURATION_SECONDS: Final = BatchHistogram(
    "nomad_job_duration_seconds",
    "Time from start to end of completed runs.",
    ("queue", "actor"),
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
JOB_WAIT_SECONDS: Final = BatchHistogram(
    "nomad_job_wait_seconds",
    "Time from due to start: how long a job waited for a worker, without its delay.",
    ("queue", "actor"),
    buckets=WAIT_BUCKETS,
    registry=REGISTRY,
)
ESI_REQUESTS: Final = Counter(
    "nomad_esi_requests_total",
    "Requests sent to ESI, by endpoint group and status of the response.",
    ("group", "status"),
    registry=REGISTRY,
)
ESI_REQUEST_SECONDS: Final = Histogram(
    "nomad_esi_request_seconds",
    "Time from sending a request to ESI to the end of its response.",
    ("group",),
    buckets=ESI_BUCKETS,
    registry=REGISTRY,
)
TOKEN_REFRESHES: Final = Counter(
    "nomad_token_refresh_total", "Token refreshes requested from the SSO.", ("outcome",), registry=REGISTRY
)
ESI_ERROR_LIMIT_REMAINING: Final = Gauge(
    "nomad_esi_error_limit_remaining",
    "Errors that ESI still allows in this window, by its last response; missing until a response contains it.",
    registry=None,
)
WORK_SECONDS: Final = Histogram(
    "nomad_work_seconds",
    "Duration of work inside jobs, recorded by the job's code, by the name given there.",
    ("job_type", "outcome"),
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
SCHEDULER_HEARTBEAT: Final = Gauge(
    "nomad_scheduler_heartbeat_timestamp_seconds",
    "When the scheduler last checked its schedules.",
    registry=SCHEDULER,
)
SCHEDULER_CLOCK_OFFSET: Final = Gauge(
    "nomad_scheduler_clock_offset_seconds",
    "How far the scheduler's clock is ahead of Redis'.",
    registry=SCHEDULER,
)
SCHEDULER_SUSPENDED: Final = Gauge(
    "nomad_scheduler_holds",
    "Whether the scheduler is suspended (adds no jobs) because its clock and Redis' disagree.",
    registry=SCHEDULER,
)
BUILD: Final = Info("nomad_build", "The release that this process runs.", registry=REGISTRY)

BUILD.info({"version": __version__})
for _outcome in TOKEN_REFRESH_OUTCOMES:
    TOKEN_REFRESHES.labels(_outcome)
# Memory, processor time and open files of this process; reads /proc when scraped.
ProcessCollector(registry=REGISTRY)

_registration_lock, _is_registered = threading.Lock(), threading.Event()


def note_esi_error_limit(remaining: int) -> None:
    """Set how many errors ESI still allows; the metric exists from the first call on."""
    with _registration_lock:
        if not _is_registered.is_set():
            REGISTRY.register(ESI_ERROR_LIMIT_REMAINING)
            _is_registered.set()
    ESI_ERROR_LIMIT_REMAINING.set(remaining)


def declare_esi_group(group: str) -> None:
    """Start the series of an endpoint group at zero, so the first error is visible as an increase."""
    ESI_REQUEST_SECONDS.labels(group)
    for status in ESI_STATUSES:
        ESI_REQUESTS.labels(group, status)
