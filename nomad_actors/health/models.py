"""The JSON of the queues' metrics, of their health and of the doctor's report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..queues.models import LimitsInForce, Pause
from ..response_model import ResponseModel


class Percentiles(ResponseModel):
    """Durations (ms), accurate to 20 %; null if nothing ended."""

    p50: int | None
    p95: int | None
    p99: int | None


class Kept(ResponseModel):
    """How many ended jobs are kept."""

    completed: int
    failed: int = Field(description="includes cancelled jobs, whose state is also `failed`")
    cancelled: int = Field(description="how many of `failed` were cancelled")


class QueueMetrics(ResponseModel):
    """A queue's jobs now, and those that ended in the window; rates are null if none ended."""

    queue_name: str
    waiting: int
    active: int
    delayed: int
    paused: int
    completed: int
    failed: int
    total: int = Field(description="completed and failed")
    completion_rate: float | None = Field(description="percent of total")
    failure_rate: float | None = Field(description="percent of total")
    avg_processing_time: int | None = Field(description="ms from start to end, of completed runs")
    processing_time: Percentiles
    wait_time: Percentiles
    skipped: int
    cancelled: int
    retried: int
    deferred: int
    released: int
    recovered: int
    window_seconds: int
    kept: Kept
    is_paused: bool
    pauses: list[Pause] = Field(description="why no job starts; empty while the queue runs")


class Worker(ResponseModel):
    """A live worker process."""

    name: str
    heard_at: int = Field(description="ms since the epoch")


class QueueDetails(QueueMetrics):
    """A queue's metrics and its workers."""

    oldest_waiting_ms: int | None
    longest_active_ms: int | None
    concurrency: int = Field(description="jobs that run at the same time in one worker process")
    limits: LimitsInForce
    workers: list[Worker]
    job_types: list[str]


class QueueList(ResponseModel):
    """Every queue's metrics."""

    queues: list[QueueMetrics]


class Summary(QueueList):
    """Every queue's metrics and their sums."""

    total_jobs: int = Field(description="jobs that ended in the window")
    active_jobs: int
    completed_jobs: int
    failed_jobs: int
    waiting_jobs: int
    delayed_jobs: int
    paused_jobs: int
    overall_completion_rate: float | None
    overall_failure_rate: float | None
    window_seconds: int


class QueueHealth(ResponseModel):
    """How many queues are within their thresholds."""

    total: int
    healthy: int
    unhealthy: int
    issues: list[str] = Field(description="problems, each with its remedy")


class ScheduleHealth(ResponseModel):
    """How many schedules are on and off."""

    total: int
    running: int
    stopped: int
    issues: list[str]


class WorkerHealth(ResponseModel):
    """How many queues there are, and how many have a live worker."""

    total: int
    active: int
    issues: list[str]


class PartHealth(ResponseModel):
    """The problems of Redis, the database, ESI or the host."""

    issues: list[str]


class Health(ResponseModel):
    """Whether the job system is healthy."""

    healthy: bool
    queues: QueueHealth
    scheduled_jobs: ScheduleHealth
    workers: WorkerHealth
    redis: PartHealth
    database: PartHealth
    esi: PartHealth
    host: PartHealth


class Check(ResponseModel):
    """The result of one check of the installation."""

    name: str
    status: Literal["ok", "unknown", "warning", "problem"]
    found: str
    fix: str = Field(description="the remedy, with commands on their own lines; empty if none is needed")


class DoctorReport(ResponseModel):
    """The problems of the installation and their remedies."""

    healthy: bool = Field(description="no check found a problem")
    status: Literal["ok", "unknown", "warning", "problem"] = Field(description="the worst status of the checks")
    at: int = Field(description="ms since the epoch")
    checks: list[Check]
