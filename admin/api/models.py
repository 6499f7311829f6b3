"""The models of the responses: the schemas of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nomad_actors.broker.records.limits import PauseScope
from nomad_actors.esi.limits import LimitsState
from nomad_actors.health.characters import CharacterSummary, Refusal
from nomad_actors.queues.bulk.operation import BulkOperation
from nomad_actors.queues.job import Job, JobState
from nomad_actors.queues.models import Failure, ListedJob, Pause
from nomad_actors.queues.snapshot import QueueSnapshot, readable
from nomad_actors.response_model import ResponseModel, optional
from nomad_actors.scheduler.models import ScheduleHistory
from nomad_actors.store import AuditEntry


class Problem(ResponseModel):
    """An error (RFC 9457)."""

    type: str
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="the invalid value, what is wrong with it, and what is allowed")
    accepted: list[str] = optional("the allowed values, if there is a choice")
    healthy: Literal[False] = optional("only of the health endpoint, if it cannot read the state")


class AuditPage(ResponseModel):
    """Some entries of the audit log, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class Alive(ResponseModel):
    """The process is alive."""

    status: Literal["ok"]


class Ready(ResponseModel):
    """Whether Redis and the database answer: "ok", or the reason."""

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


class Done(ResponseModel):
    """The result of an action on a queue or a job."""

    success: Literal[True]
    queue_name: str
    job_id: str = optional("only for an action on a job")
    status: str = optional("the state after the action")
    removed: int = optional("number of removed jobs")


class EsiSwitch(ResponseModel):
    """The common pause of all ESI queues."""

    queues: list[str] = Field(description="queues that use ESI or its SSO")
    is_paused: bool = Field(description="all of them are paused")
    running: list[str] = Field(description="those that are not paused; pause again to include a new queue")
    pause: Pause | None = Field(description="the latest pause of any of these queues")
    pauses: dict[str, Pause] = Field(description="the common pause of each paused queue")

    @classmethod
    def of(cls, names: list[str], snapshots: Iterable[QueueSnapshot]) -> EsiSwitch:
        """Return the switch of the queues `names`; each of them stores its own pause, so some may lack it."""
        pauses = {
            queue.name: Pause.of(pause)
            for queue in readable(snapshots)
            for pause in queue.pauses
            if queue.name in names and pause.scope is PauseScope.ESI
        }
        running = [name for name in names if name not in pauses]
        latest = max(pauses.values(), key=lambda pause: pause.since, default=None)
        return cls(queues=names, is_paused=bool(names) and not running, running=running, pause=latest, pauses=pauses)


class Refusals(ResponseModel):
    """The refusals by ESI that are in force."""

    total: int
    by_endpoint: dict[str, int] = Field(description="how many characters, by endpoint; those without are left out")
    newest: list[Refusal]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class EsiState(EsiSwitch):
    """What may be sent to ESI and SSO now: the common pause, limits, buckets, brakes and refusals."""

    limits: LimitsState
    refusals: Refusals | None = Field(description="null while the database does not answer")


class CharacterPage(ResponseModel):
    """Some characters, those that need attention first; a page may have fewer than `limit` and not be the last."""

    characters: list[CharacterSummary]
    total: int
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class BulkCount(ResponseModel):
    """How many jobs a bulk operation would affect; nothing was changed."""

    dry_run: Literal[True]
    queue_name: str
    action: str
    count: int
    is_exact: bool = Field(description="false: this is an upper bound, because the jobs were not read")


class BulkList(ResponseModel):
    """Bulk operations."""

    operations: list[BulkOperation]


class ScheduleChanged(ScheduleHistory):
    """The new state of a schedule that was switched on or off."""

    success: Literal[True]
    job_name: str


class ScheduleRun(ResponseModel):
    """The job that was added for a schedule."""

    success: Literal[True]
    job_name: str
    queue_name: str
    job_id: str
    status: str


class JobPage(ResponseModel):
    """Some jobs of one queue; a page may have fewer jobs than `limit`, even none, and not be the last one."""

    jobs: list[Job]
    total: int = Field(description="number of matching jobs; an upper bound unless `totalIsExact`")
    total_is_exact: bool
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class JobList(ResponseModel):
    """Some jobs of all queues; a page may have fewer jobs than `limit`, even none, and not be the last one."""

    jobs: list[ListedJob]
    total: int
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class AddedJob(ResponseModel):
    """An added job, or the existing job that was returned instead."""

    id: str
    name: str = Field(description="the requested job type")
    queue_name: str
    state: JobState | Literal["gone"] = Field(description="gone: the existing job is not kept any more")
    priority: int | None = Field(description="null for an existing job")
    new: bool = Field(description="false: it is an existing job with the same key or id")


class AddedJobs(ResponseModel):
    """Jobs that were added in one call, in the order of the request."""

    jobs: list[AddedJob]


class FailurePage(ResponseModel):
    """The failure groups of a queue, the most recent first."""

    failures: list[Failure]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")
