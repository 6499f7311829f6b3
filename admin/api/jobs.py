"""Jobs: finding them, one job, why they failed, adding one or many."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from pydantic.alias_generators import to_camel

from nomad_actors import job_metrics
from nomad_actors.broker.states import State
from nomad_actors.errors import BadInput, JobNotFound
from nomad_actors.queues import AddedJob as AddedJobOf
from nomad_actors.queues import NewJob as NewJobOf
from nomad_actors.queues.new_job import JobOptions
from nomad_actors.queues.queue import of_readable
from nomad_actors.queues.search import MAX_LIMIT, OUTCOMES, JobFilter

from ..access.actors import current_actor
from ..inputs import Body, Headers, Query
from ..listing import OfJobs, page_of, states_of, words_of
from ..parts import all_queues
from ..sizes import MAX_BATCH_BYTES, MAX_JOB_BYTES
from .answers import AddedJob, AddedJobs, FailurePage, Job, JobList, JobPage
from .declared import JobId, ThisQueue, declared

api = Blueprint("jobs", __name__, url_prefix="/admin/jobs")

MAX_JOBS = 10_000

_OF_FAILED = [name for name, state in OUTCOMES.items() if state is State.FAILED]
_FAILED = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": _OF_FAILED}}


class OfAllQueues(Query):
    """How many jobs of all queues are listed."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="the last answer's `nextCursor`")


class OfFailed(OfAllQueues):
    """Which failed jobs of all queues are listed."""

    outcome: Annotated[str, WithJsonSchema(_FAILED)] = Field(
        default="failed", description="failed, or cancelled by an operator, or both"
    )


@with_config(ConfigDict(alias_generator=to_camel, extra="forbid", strict=True))
class Options(JobOptions, total=False):
    """What differs from the job type's own; null is the same as left out."""


class NewJob(Body):
    """A job to add; its data is what its job type takes."""

    name: str = Field(description="the job type")
    data: Any = Field(default_factory=dict)
    opts: Options = Field(default_factory=lambda: Options())


class ManyJobs(Body):
    """Jobs to add, all or none."""

    jobs: list[NewJob] = Field(min_length=1, max_length=MAX_JOBS)
    once: bool = Field(
        default=False,
        description="a job whose `jobId` the queue knows is left alone, in whatever state it is, while it is kept",
    )


class Keyed(Headers):
    """The caller's own key of the call."""

    idempotency_key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        description="the same call with the same key within a day is the same call, whatever has become of its job",
    )


class OfFailures(Query):
    """How many reasons are listed."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="the last answer's `nextCursor`")


@api.get("/queues/<queue>/jobs")
@declared(JobPage)
def list_jobs(queue: ThisQueue, query: OfJobs) -> dict[str, Any]:
    """List one queue's jobs of some states; of one job type, with values of fields, a reason of failing, a time.

    By a field or a fingerprint newest first, in a time that does not grow with the number of other jobs. Else waiting
    in the order of starting, delayed by due time, ended newest first.
    """
    page = page_of(queue, query, status=states_of(query) if query.status is None else "")
    told = {"jobs": [job.as_json() for job in page.jobs], "total": page.total, "totalIsExact": page.is_exact}
    return {**told, "nextCursor": page.next_cursor}


@api.get("/queues/<queue>/failures")
@declared(FailurePage)
def failures(queue: ThisQueue, query: OfFailures) -> dict[str, Any]:
    """List why a queue's jobs failed: those with one cause together, the cause seen last first."""
    page = queue.failures(limit=query.limit, cursor=query.cursor or None)
    return {"failures": [fault.as_json() for fault in page.faults], "nextCursor": page.next_cursor}


@api.get("/queues/<queue>/jobs/<job:job_id>")
@declared(Job)
def show_job(queue: ThisQueue, job_id: JobId) -> dict[str, Any]:
    """Show one job with its story."""
    job = queue.get(job_id)
    if job is None:
        raise JobNotFound(f"queue {queue.name!r} holds no job {job_id!r}")
    return job.as_json()


@api.post("/queues/<queue>/jobs")
@declared({201: AddedJob, 200: AddedJob}, problems=(409, 503), max_body_bytes=MAX_JOB_BYTES)
def add_job(queue: ThisQueue, body: NewJob, headers: Keyed) -> tuple[dict[str, Any], int]:
    """Add a job; what `opts` does not say comes from its job type.

    200 when another one stands in its place: the one with its unique key or its id, or that of the same call before.
    """
    key = headers.idempotency_key
    added = all_queues().add_job(
        queue.name,
        body.name,
        body.data,
        requested_by=current_actor().name,
        idempotency_key=key,
        **body.opts,
    )
    return _added(body.name, added), 201 if added.new else 200


@api.post("/queues/<queue>/batch")
@declared(
    {201: AddedJobs, 200: AddedJobs},
    problems=(409, 503),
    max_body_bytes=MAX_BATCH_BYTES,
    instead_of={"Idempotency-Key": "a jobId for each job, and once: true"},
)
def add_jobs(queue: ThisQueue, body: ManyJobs) -> tuple[dict[str, Any], int]:
    """Add many jobs to a queue in one call, all or none.

    200 when none of them is new. An `Idempotency-Key` is refused: give each job a `jobId` and send `once`, and the call
    can be repeated.
    """
    by = current_actor().name
    for number, job in enumerate(body.jobs):
        if body.once and job.opts.get("job_id") is None:
            raise BadInput(f"jobs[{number}] has no jobId (accepted: one for each job, with once)")
    added = all_queues().add_jobs(
        [
            NewJobOf(queue=queue.name, job_type=job.name, data=job.data, requested_by=by, **job.opts)
            for job in body.jobs
        ],
        once=body.once,
    )
    told = [_added(job.name, each) for job, each in zip(body.jobs, added, strict=True)]
    return {"jobs": told}, 201 if any(each.new for each in added) else 200


def _added(name: str, added: AddedJobOf) -> dict[str, Any]:
    told = {"id": added.id, "name": name, "queueName": added.queue, "state": added.state}
    return {**told, "priority": added.priority, "new": added.new}


@api.get("/failed")
@declared(JobList)
def failed_jobs(query: OfFailed) -> dict[str, Any]:
    """List failed jobs of all queues, the last to fail first; those that an operator cancelled only when asked to."""
    outcomes = words_of(query.outcome)
    for word in outcomes:
        if word not in _OF_FAILED:
            raise BadInput(f"outcome {word!r:.80} is unusable (accepted: {', '.join(_OF_FAILED)})", accepted=_OF_FAILED)
    cursor = query.cursor or None
    jobs, cursor = job_metrics.list_across(
        State.FAILED, limit=query.limit, cursor=cursor, outcomes=outcomes, queues=all_queues()
    )
    return {"jobs": jobs, "total": _total(State.FAILED, outcomes), "nextCursor": cursor}


@api.get("/active")
@declared(JobList)
def active_jobs(query: OfAllQueues) -> dict[str, Any]:
    """List running jobs of all queues, the longest-running first."""
    cursor = query.cursor or None
    jobs, cursor = job_metrics.list_across(State.ACTIVE, limit=query.limit, cursor=cursor, queues=all_queues())
    return {"jobs": jobs, "total": _total(State.ACTIVE), "nextCursor": cursor}


def _total(state: State, outcomes: tuple[str, ...] = ()) -> int:
    queues, sought = all_queues(), JobFilter(states=(state.value,), outcomes=outcomes)
    return sum(of_readable(queues.names(), lambda name: queues.get_queue(name).count(sought)[0]))
