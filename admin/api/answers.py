"""What the endpoints answer, field by field; an answer with a field that is not here is a mistake in the admin."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

State = Literal["waiting", "active", "delayed", "completed", "failed", "paused"]


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def optional(description: str, **more: Any) -> Any:
    """Return a field that is left out where there is nothing to tell."""
    return Field(default=None, description=description, json_schema_extra=_without_default, **more)


class Answer(BaseModel):
    """The base of what is answered: camelCase outside, and nothing that is not declared."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: str
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what was wrong, the value named, and what is accepted")
    accepted: list[str] = optional("what is accepted, where there is a choice")
    healthy: Literal[False] = optional("of the health endpoint alone, when it cannot tell")


class BackoffOptions(Answer):
    """How long a failed job waits before its next attempt."""

    type: Literal["exponential", "fixed"]
    delay: int = Field(description="ms")


class JobOptions(Answer):
    """BullMQ's options of a job, as far as there are some here."""

    priority: int
    attempts: int = Field(description="how many runs it is given, the first one counted")
    backoff: BackoffOptions
    delay: int = Field(description="ms from being added to being due")


class ProgressDetail(Answer):
    """What a job said of how far it is."""

    done: float
    total: float
    note: str


class Event(Answer):
    """One event of a job's story."""

    event: str
    at: int = optional("ms since the epoch")
    worker: str = optional("of `started`: which worker")
    class_: str = optional("of `error`: the exception's class", alias="class")
    message: str = optional("of `error`")
    traceback: str = optional("of `error`")
    due: int = optional("of `retry` and `deferred`: when it runs again, ms since the epoch")
    reason: str = optional("why")
    events_left_out: int = optional("of `cut`: how many events were dropped here")


class LogLine(Answer):
    """A line that a job wrote of itself."""

    at: int = Field(description="ms since the epoch")
    line: str


class Job(Answer):
    """A job at one instant: BullMQ's fields and ours; times are ms since the epoch, null for what has not happened."""

    id: str
    name: str = Field(description="the job type")
    queue_name: str
    data: dict[str, Any]
    opts: JobOptions
    status: State
    progress: float = Field(description="0 to 100")
    progress_detail: ProgressDetail | None
    attempts_made: int
    failed_reason: str | None
    stacktrace: list[str] = Field(description="the traceback of each failed attempt, oldest first")
    returnvalue: Any = Field(description="what the job returned")
    timestamp: int = Field(description="when it was added")
    processed_on: int | None = Field(description="when its last run started")
    finished_on: int | None
    timeline: list[Event]
    crashes: int = Field(description="how often it was lost with its worker")
    outcome: Literal["completed", "skipped", "failed", "cancelled"] | None
    cancel_asked: str | None = Field(description="why an operator wants the running job ended")
    wait_ms: int | None = Field(description="due to start, of the last run")
    run_ms: int | None = Field(description="start to end, of the last run")
    log: list[LogLine]
    log_lines_left_out: int
    requested_by: str | None
    worker: str | None = Field(description="which worker runs it; null when it does not run")


class ListedJob(Job):
    """A job in a list over all queues, where its id has the original's name too."""

    job_id: str


class JobPage(Answer):
    """Some jobs of one queue; a page may have fewer than were asked for, also none, and go on all the same."""

    jobs: list[Job]
    total: int = Field(description="how many there are in all; no more than this, unless it is exact")
    total_is_exact: bool
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class JobList(Answer):
    """Some jobs of all queues; a page may have fewer than were asked for, also none, and go on all the same."""

    jobs: list[ListedJob]
    total: int
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class AddedJob(Answer):
    """A job that was added, or the one that stands in its place."""

    id: str
    name: str = Field(description="the job type that was asked for")
    queue_name: str
    state: State | Literal["gone"] = Field(description="gone: the one that stands is not kept any more")
    priority: int | None = Field(description="null where another stands in its place")
    new: bool = Field(description="false: another stands in its place, by a key or its id")


class AddedJobs(Answer):
    """Jobs that were added in one call, in the order that they were given in."""

    jobs: list[AddedJob]


class Failure(Answer):
    """Failed jobs with one cause; times are ms since the epoch."""

    fingerprint: str = Field(description="of the job type, the error's class, its words and where it was raised")
    job_type: str
    error_class: str
    message: str = Field(description="without what differs from job to job")
    frame: str = Field(description="the innermost line of code that is neither Python's nor a library's")
    count: int = Field(description="failed jobs that are kept")
    seen: int = Field(description="how often it was seen in all")
    first_seen: int
    last_seen: int


class FailurePage(Answer):
    """Why a queue's jobs failed, the reason seen last first."""

    failures: list[Failure]
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class Meant(Answer):
    """Which jobs a bulk operation is meant for."""

    status: list[State]
    outcome: list[Literal["completed", "skipped", "failed", "cancelled"]]
    job_type: str | None
    fields: dict[str, str]
    fingerprint: str | None
    since: int | None
    until: int | None


class BulkCount(Answer):
    """How many jobs a bulk operation would be for; nothing was done."""

    dry_run: Literal[True]
    queue_name: str
    action: str
    count: int
    is_exact: bool = Field(description="false: no more than that, jobs must be looked at to know")


class BulkOperation(Answer):
    """A bulk operation and how far it is."""

    id: str
    queue_name: str
    action: Literal["retry", "remove", "promote", "cancel"]
    state: Literal["running", "stopped", "finished"]
    total: int = Field(description="how many jobs it is for, as far as that was known when it began")
    done: int
    skipped: int = Field(description="jobs that were left alone, as their state had changed")
    per_second: int
    filter: Meant
    by: str
    reason: str
    created_at: int = Field(description="ms since the epoch")
    updated_at: int = Field(description="ms since the epoch")
    error: str | None = Field(description="why it stopped by itself")


class BulkList(Answer):
    """Bulk operations."""

    operations: list[BulkOperation]


class Done(Answer):
    """What was done to a queue or a job."""

    success: Literal[True]
    queue_name: str
    job_id: str = optional("of an action on a job")
    status: str = optional("the state it is in now")
    removed: int = optional("how many jobs were removed")


class Percentiles(Answer):
    """Durations (ms), up to a fifth off; null where nothing ended."""

    p50: int | None
    p95: int | None
    p99: int | None


class Kept(Answer):
    """How many ended jobs can still be looked at."""

    completed: int
    failed: int = Field(description="with the cancelled ones, whose state is `failed` too")
    cancelled: int = Field(description="of `failed`, the jobs that somebody cancelled")


class Pause(Answer):
    """Why no job of a queue starts; to lift one does not lift another."""

    scope: Literal["queue", "esi"] = Field(description="esi: everything that talks to ESI is paused")
    since: int = Field(description="ms since the epoch")
    until: int | None = Field(description="ms since the epoch; null until it is resumed")
    reason: str
    by: str


class Limits(Answer):
    """A queue's limits; null where there is none."""

    concurrency: int | None = Field(description="jobs at a time over all hosts; null for what is declared")
    starts: int | None = Field(description="jobs that start in a period")
    period_ms: int | None
    max_length: int | None = Field(description="how many may be waiting or delayed before more are refused")


class QueueMetrics(Answer):
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


class EsiSwitch(Answer):
    """The switch of everything that talks to ESI."""

    queues: list[str] = Field(description="those that talk to ESI or its login")
    is_paused: bool = Field(description="the switch holds all of them")
    running: list[str] = Field(description="those that it does not hold; pause again to reach a new one")
    pause: Pause | None = Field(description="the one that was set last, where any queue has one")
    pauses: dict[str, Pause] = Field(description="by queue, where the switch holds it")


class LimitsInForce(Limits):
    """A queue's limits, and what holds."""

    in_force: int | None = Field(description="jobs at a time over all hosts, as set or as declared")


class Worker(Answer):
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


class QueueList(Answer):
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


class QueueHealth(Answer):
    """How many queues are within their limits."""

    total: int
    healthy: int
    unhealthy: int
    issues: list[str] = Field(description="what is wrong and what to do")


class ScheduleHealth(Answer):
    """The schedules that are on and off."""

    total: int
    running: int
    stopped: int
    issues: list[str]


class WorkerHealth(Answer):
    """The queues that must be served, and those that are."""

    total: int
    active: int
    issues: list[str]


class PartHealth(Answer):
    """What is wrong with one part that everything else needs: Redis, the database, the host."""

    issues: list[str]


class Health(Answer):
    """Whether the job system is healthy."""

    healthy: bool
    queues: QueueHealth
    scheduled_jobs: ScheduleHealth
    workers: WorkerHealth
    redis: PartHealth
    database: PartHealth
    host: PartHealth


class ScheduleStatus(Answer):
    """A schedule; instants are ISO 8601 in UTC."""

    name: str
    running: bool
    cron_expression: str
    timezone: str
    description: str
    queue_name: str
    job_type: str
    data: dict[str, Any]
    next_run: str | None
    last_run: str | None
    last_status: str | None
    last_outcome: str | None
    last_job_id: str | None
    last_success: str | None
    overdue: str | None = Field(description="what should have happened and has not")
    missed: int = Field(description="slots that got no job since the schedule exists")
    run_on_init: bool
    misfire: str
    overlap: str
    max_lateness_seconds: float | None
    declared: bool = Field(description="by the code, else added at run time")
    overridden: list[str] = Field(description="what an operator changed of it")
    version: int


class Scheduler(Answer):
    """A scheduler that was heard of."""

    name: str
    heard_at: str | None
    live: bool
    clock_offset_seconds: float | None = Field(description="its clock minus Redis'; null when it did not say")
    holds: str | None = Field(description="why it adds nothing; null when it does")
    holds_since: str | None


class UnreadableRecord(Answer):
    """A record in Redis that cannot be read."""

    name: str
    queue_name: str
    why: str
    fix: str = Field(description="the command that removes it")


class SchedulerSummary(Answer):
    """Every schedule, and the schedulers."""

    total: int
    running: int
    stopped: int
    overdue: int
    jobs: list[ScheduleStatus]
    schedulers: list[Scheduler]
    unreadable: list[UnreadableRecord] = Field(description="what is kept as a schedule and cannot be read as one")


class Slot(Answer):
    """What became of one slot of a schedule."""

    due: str
    kind: str = Field(description="due, init or manual")
    added: str | None
    started: str | None
    ended: str | None
    outcome: str
    missed: str | None = Field(description="why it got no job")
    lateness_ms: int | None
    job_id: str | None
    requested_by: str | None


class ScheduleHistory(ScheduleStatus):
    """One schedule with its last slots."""

    exists: Literal[True]
    slots: list[Slot]


class ScheduleChanged(ScheduleHistory):
    """A schedule that was switched on or off, as it is now."""

    success: Literal[True]
    job_name: str


class ScheduleRun(Answer):
    """The job that a schedule was made to add."""

    success: Literal[True]
    job_name: str
    queue_name: str
    job_id: str
    status: str


class Check(Answer):
    """What one check of the installation found."""

    name: str
    status: Literal["ok", "unknown", "warning", "problem"]
    found: str
    fix: str = Field(description="what to do about it, a command alone on its line; empty when nothing is to be done")


class DoctorReport(Answer):
    """What is wrong with the installation, and what mends it."""

    healthy: bool = Field(description="no check found a problem")
    status: Literal["ok", "unknown", "warning", "problem"] = Field(description="the worst of what was found")
    at: int = Field(description="ms since the epoch")
    checks: list[Check]


class AuditEntry(Answer):
    """A change that was asked for, or a refusal."""

    id: str
    at: int = Field(description="ms since the epoch")
    request_id: str
    actor: str
    role: str
    peer: str
    method: str
    path: str
    endpoint: str | None = Field(
        description="the path's pattern; null where no endpoint has the path, and in old entries"
    )
    queue_name: str | None
    job_id: str | None
    schedule_name: str | None
    body: str | None = Field(description="in short, without secrets")
    body_length: int | None = Field(description="of the body as it came, bytes")
    body_sha256: str | None = Field(description="of the body as it came, in hex")
    refused: str | None = Field(description="why it was refused, in a word; null for a change")
    ended_at: int | None = Field(description="ms since the epoch; null when how it ended is not known")
    status: int | None
    error: str | None


class AuditPage(Answer):
    """Some entries of the audit log, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class Alive(Answer):
    """The process is alive."""

    status: Literal["ok"]


class Ready(Answer):
    """Whether Redis and the database answer: "ok", or why not."""

    ready: bool
    redis: str
    database: str


class OpenApi(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]

    model_config = ConfigDict(extra="allow")
