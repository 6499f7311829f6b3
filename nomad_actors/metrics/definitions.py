"""Every metric that this project counts in its own processes; the page that explains them is docs/metrics.md.

They live in a registry of our own, so that importing this package changes nobody's default one. What Redis and
the database hold is not counted here but read when a scrape asks (`collector`).
"""

from __future__ import annotations

import threading
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from ..version import __version__
from .batch_histogram import BatchHistogram

# `_created` doubles the series and no query of ours reads it. The switch is the library's: it counts for the
# whole process.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: What this process counts.
REGISTRY: Final = CollectorRegistry()
#: What a scheduler tells of itself; a 0 from other services would look like one that stands still.
SCHEDULER: Final = CollectorRegistry()

#: What can become of a token refresh: a fresh token; a login that is dead; our own fault; weather at the SSO.
TOKEN_REFRESH_OUTCOMES: Final = ("refreshed", "dead_login", "misconfigured", "unavailable")

#: The answers of ESI that each endpoint group has a series of from the start; "network" is no answer at all.
ESI_STATUSES: Final = (
    "200",
    "304",
    "400",
    "401",
    "403",
    "404",
    "420",
    "429",
    "500",
    "502",
    "503",
    "504",
    "network",
)

# Edges lie on the promises: the time limits of the job types (60, 120, 300 and 600 s) and, for waiting, the pick-up
# of an idle worker (3 and 10 ms) and of an urgent job (20 ms). Between them steps of about two to four.
DURATION_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
WAIT_BUCKETS: Final = (0.003, 0.01, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
ESI_BUCKETS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

JOBS_ENQUEUED: Final = Counter(
    "nomad_jobs_enqueued_total", "Jobs added to a queue.", ("queue", "actor"), registry=REGISTRY
)
JOB_DURATION_SECONDS: Final = BatchHistogram(
    "nomad_job_duration_seconds",
    "Start to end of a run that completed.",
    ("queue", "actor"),
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
JOB_WAIT_SECONDS: Final = BatchHistogram(
    "nomad_job_wait_seconds",
    "Due to start: what a job waited for a worker, its delay not counted.",
    ("queue", "actor"),
    buckets=WAIT_BUCKETS,
    registry=REGISTRY,
)
ESI_REQUESTS: Final = Counter(
    "nomad_esi_requests_total",
    "Requests sent to ESI, by endpoint group and status of the answer.",
    ("group", "status"),
    registry=REGISTRY,
)
ESI_REQUEST_SECONDS: Final = Histogram(
    "nomad_esi_request_seconds",
    "Time from sending a request to ESI to the end of its answer.",
    ("group",),
    buckets=ESI_BUCKETS,
    registry=REGISTRY,
)
TOKEN_REFRESHES: Final = Counter(
    "nomad_token_refresh_total", "Token refreshes asked of the SSO.", ("outcome",), registry=REGISTRY
)
ESI_ERROR_LIMIT_REMAINING: Final = Gauge(
    "nomad_esi_error_limit_remaining",
    "Errors that ESI still takes in this window, as its last answer said; missing until one did.",
    registry=None,
)
WORK_SECONDS: Final = Histogram(
    "nomad_work_seconds",
    "Work inside a job that its author times, by the name that it was given.",
    ("job_type", "outcome"),
    buckets=DURATION_BUCKETS,
    registry=REGISTRY,
)
SCHEDULER_HEARTBEAT: Final = Gauge(
    "nomad_scheduler_heartbeat_timestamp_seconds",
    "When the scheduler last looked at its schedules.",
    registry=SCHEDULER,
)
SCHEDULER_CLOCK_OFFSET: Final = Gauge(
    "nomad_scheduler_clock_offset_seconds",
    "How far the scheduler's clock is ahead of Redis'.",
    registry=SCHEDULER,
)
SCHEDULER_SUSPENDED: Final = Gauge(
    "nomad_scheduler_holds",
    "Whether the scheduler adds nothing because the clocks do not agree.",
    registry=SCHEDULER,
)
BUILD: Final = Info("nomad_build", "The release that this process runs.", registry=REGISTRY)

BUILD.info({"version": __version__})
for _outcome in TOKEN_REFRESH_OUTCOMES:
    TOKEN_REFRESHES.labels(_outcome)
# Memory, processor time and open files of this process; reads /proc when scraped.
ProcessCollector(registry=REGISTRY)

_registering, _esi_told = threading.Lock(), threading.Event()


def note_esi_error_limit(remaining: int) -> None:
    """Show how many errors ESI still takes; before the first call there is nothing to show."""
    with _registering:
        if not _esi_told.is_set():
            REGISTRY.register(ESI_ERROR_LIMIT_REMAINING)
            _esi_told.set()
    ESI_ERROR_LIMIT_REMAINING.set(remaining)


def declare_esi_group(group: str) -> None:
    """Start the series of an endpoint group at zero, so that the first refusal is seen as an increase."""
    ESI_REQUEST_SECONDS.labels(group)
    for status in ESI_STATUSES:
        ESI_REQUESTS.labels(group, status)
