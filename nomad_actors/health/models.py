"""The JSON of the queues' numbers, of their health and of the doctor's report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..findings import Finding
from ..queues.models import LimitsInForce, Pause
from ..response_model import ResponseModel


class Percentiles(ResponseModel):
    """Durations (ms), up to a fifth off; null where nothing ended."""

    p50: int | None
    p95: int | None
    p99: int | None


class Kept(ResponseModel):
    """How many ended jobs can still be looked at."""

    completed: int
    failed: int = Field(description="with the cancelled ones, whose state is `failed` too")
    cancelled: int = Field(description="of `failed`, the jobs that somebody cancelled")


class QueueMetrics(ResponseModel):
    """A queue's jobs now, and what ended in the window; rates are null where nothing ended."""

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
    """A queue's metrics, and who serves it."""

    oldest_waiting_ms: int | None
    longest_active_ms: int | None
    concurrency: int = Field(description="jobs at a time in one worker process")
    limits: LimitsInForce
    workers: list[Worker]
    job_types: list[str]


class QueueList(ResponseModel):
    """Every queue's metrics."""

    queues: list[QueueMetrics]


class Summary(QueueList):
    """Every queue's metrics and their sums."""

    total_jobs: int = Field(description="what ended in the window")
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
    """How many queues are within their limits."""

    total: int
    healthy: int
    unhealthy: int
    issues: list[str] = Field(description="what is wrong and what to do")


class ScheduleHealth(ResponseModel):
    """The schedules that are on and off."""

    total: int
    running: int
    stopped: int
    issues: list[str]


class WorkerHealth(ResponseModel):
    """The queues that must be served, and those that are."""

    total: int
    active: int
    issues: list[str]


class PartHealth(ResponseModel):
    """What is wrong with one part that everything else needs: Redis, the database, the host."""

    issues: list[str]


class Health(ResponseModel):
    """Whether the job system is healthy."""

    healthy: bool
    queues: QueueHealth
    scheduled_jobs: ScheduleHealth
    workers: WorkerHealth
    redis: PartHealth
    database: PartHealth
    host: PartHealth


class Check(ResponseModel):
    """What one check of the installation found."""

    name: str
    status: Literal["ok", "unknown", "warning", "problem"]
    found: str
    fix: str = Field(description="what to do about it, a command alone on its line; empty when nothing is to be done")

    @classmethod
    def of(cls, finding: Finding) -> Check:
        """Return what a check found."""
        return cls.model_construct(
            name=finding.name, status=finding.severity.value, found=finding.cause, fix=finding.remedy
        )


class DoctorReport(ResponseModel):
    """What is wrong with the installation, and what mends it."""

    healthy: bool = Field(description="no check found a problem")
    status: Literal["ok", "unknown", "warning", "problem"] = Field(description="the worst of what was found")
    at: int = Field(description="ms since the epoch")
    checks: list[Check]
