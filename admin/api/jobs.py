"""Jobs: find them, show one, group failures, add one or many."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from pydantic.alias_generators import to_camel

from nomad_actors.broker.states import OUTCOMES, State
from nomad_actors.errors import BadInput
from nomad_actors.queues import AddedJob as AddedJobOf
from nomad_actors.queues import NewJob as NewJobOf
from nomad_actors.queues.across_queues import jobs_of_all, read_each
from nomad_actors.queues.job import Job
from nomad_actors.queues.models import Failure, ListedJob
from nomad_actors.queues.new_job import JobOptions
from nomad_actors.queues.search import MAX_LIMIT, JobFilter

from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import MAX_BATCH_BYTES, MAX_JOB_BYTES, Input
from ..listing import JobsQuery, find_job, page_of, split_values, states_of
from .declared import InHeader, JobId, ThisQueue, declared
from .models import AddedJob, AddedJobs, FailurePage, JobList, JobPage

api = Blueprint("jobs", __name__, url_prefix="/admin/jobs")

MAX_JOBS = 10_000

_FAILED_OUTCOMES = [name for name, state in OUTCOMES.items() if state is State.FAILED]
_FAILED = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": _FAILED_OUTCOMES}}


class PageQuery(Input):
    """A page of a list."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="`nextCursor` of the previous response")


class FailedQuery(PageQuery):
    """A page of the failed jobs of all queues."""

    outcome: Annotated[str, WithJsonSchema(_FAILED)] = Field(
        default="failed", description="failed, cancelled (by an operator), or both"
    )


@with_config(ConfigDict(alias_generator=to_camel, extra="forbid", strict=True))
class Options(JobOptions, total=False):
    """Options that replace those of the job type; null is the same as left out."""


class NewJob(Input):
    """A job to add, with its job type's data."""

    name: str = Field(description="the job type")
    data: Any = Field(default_factory=dict)
    opts: Options = Field(default_factory=lambda: Options())


class ManyJobs(Input):
    """Jobs to add, all or none."""

    jobs: list[NewJob] = Field(min_length=1, max_length=MAX_JOBS)
    once: bool = Field(
        default=False,
        description="a job whose `jobId` the queue has is not added again, whatever its state, while it is kept",
    )


IdempotencyKey = Annotated[
    str | None,
    InHeader(
        "Idempotency-Key",
        "a repeated call with the same key within a day adds no other job, whatever the state of the first",
    ),
]


@api.get("/queues/<queue>/jobs")
@declared(JobPage)
def list_jobs(queue: ThisQueue, query: JobsQuery) -> JobPage:
    """List a queue's jobs by state, job type, field values, fingerprint of the failure or time.

    With a field or a fingerprint the newest jobs come first, and the time does not grow with the number of other jobs.
    Otherwise waiting jobs are in the order of their start, delayed jobs by due time, ended jobs newest first.
    """
    return page_of(queue, query, status=states_of(query) if query.status is None else "")


@api.get("/queues/<queue>/failures")
@declared(FailurePage)
def failures(queue: ThisQueue, query: PageQuery) -> FailurePage:
    """List the failure groups of a queue, the most recent first."""
    page = queue.failures(limit=query.limit, cursor=query.cursor or None)
    return FailurePage.model_construct(
        failures=[Failure.of(failure_group) for failure_group in page.failure_groups], next_cursor=page.next_cursor
    )


@api.get("/queues/<queue>/jobs/<job:job_id>")
@declared(Job)
def show_job(queue: ThisQueue, job_id: JobId) -> Job:
    """Show one job with its timeline."""
    return find_job(queue, job_id)


@api.post("/queues/<queue>/jobs")
@declared({201: AddedJob, 200: AddedJob}, problems=(409, 503), max_body_bytes=MAX_JOB_BYTES)
def add_job(queue: ThisQueue, body: NewJob, key: IdempotencyKey) -> tuple[AddedJob, int]:
    """Add a job; options that `opts` does not contain come from its job type.

    200 with the existing job if there is one with the same unique key, id or `Idempotency-Key`.
    """
    by = current_actor().name
    added = all_queues().add_job(queue.name, body.name, body.data, requested_by=by, idempotency_key=key, **body.opts)
    return _added(body.name, added), 201 if added.new else 200


@api.post("/queues/<queue>/batch")
@declared(
    {201: AddedJobs, 200: AddedJobs},
    problems=(409, 503),
    max_body_bytes=MAX_BATCH_BYTES,
    instead_of={"Idempotency-Key": "a jobId for each job and `once`: true"},
)
def add_jobs(queue: ThisQueue, body: ManyJobs) -> tuple[AddedJobs, int]:
    """Add many jobs to a queue in one call, all or none.

    200 if none of them is new. An `Idempotency-Key` is refused: to make the call repeatable, give each job a `jobId`
    and send `once`.
    """
    by = current_actor().name
    for number, job in enumerate(body.jobs):
        if body.once and job.opts.get("job_id") is None:
            raise BadInput(f"jobs[{number}] has no jobId (allowed: one for each job, with once)")
    added = all_queues().add_jobs(
        [
            NewJobOf(queue=queue.name, job_type=job.name, data=job.data, requested_by=by, **job.opts)
            for job in body.jobs
        ],
        once=body.once,
    )
    jobs = [_added(job.name, each) for job, each in zip(body.jobs, added, strict=True)]
    return AddedJobs(jobs=jobs), 201 if any(each.new for each in added) else 200


def _added(name: str, added: AddedJobOf) -> AddedJob:
    return AddedJob.of_attributes(added, name=name, queue_name=added.queue)


@api.get("/failed")
@declared(JobList)
def failed_jobs(query: FailedQuery) -> JobList:
    """List the failed jobs of all queues, the most recent failure first; cancelled jobs only if `outcome` has them."""
    outcomes = split_values(query.outcome)
    for outcome in outcomes:
        if outcome not in _FAILED_OUTCOMES:
            raise BadInput(
                f"outcome {outcome!r:.80} is invalid (allowed: {', '.join(_FAILED_OUTCOMES)})",
                accepted=_FAILED_OUTCOMES,
            )
    return _list_all(State.FAILED, query, outcomes)


@api.get("/active")
@declared(JobList)
def active_jobs(query: PageQuery) -> JobList:
    """List running jobs of all queues, the longest-running first."""
    return _list_all(State.ACTIVE, query)


def _list_all(state: State, query: PageQuery, outcomes: tuple[str, ...] = ()) -> JobList:
    queues, job_filter = all_queues(), JobFilter(states=(state.value,), outcomes=outcomes)
    page = jobs_of_all(queues, state, outcomes=outcomes, limit=query.limit, cursor=query.cursor or None)
    counts = read_each(queues, lambda queue: queue.reading_count(job_filter)).values()
    jobs = [ListedJob.of(job) for job in page.jobs]
    return JobList.model_construct(jobs=jobs, total=sum(count for count, *_ in counts), next_cursor=page.next_cursor)
