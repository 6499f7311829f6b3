"""One action on many jobs: counted, begun, looked at, stopped, gone on with."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint
from pydantic import Field, WithJsonSchema

from nomad_actors.broker.states import OUTCOMES, STATE_NAMES
from nomad_actors.queues.bulk import ACTIONS, MAX_PER_SECOND, BulkRequest, Operations
from nomad_actors.queues.bulk.models import BulkOperation
from nomad_actors.queues.search import JobFilter

from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import Body, Input
from ..listing import MAX_INSTANT_MS, MAX_VALUE_CHARS
from ..sizes import MAX_REASON_CHARS
from .declared import InPath, ThisQueue, declared
from .models.actions import BulkCount, BulkList

api = Blueprint("bulk", __name__, url_prefix="/admin/jobs")

MAX_FIELDS = 20

OperationId = Annotated[str, InPath("a bulk operation's id")]

_ACTION = {"type": "string", "enum": list(ACTIONS)}
_OUTCOME = {"type": "string", "enum": list(OUTCOMES)}
_STATE = {"type": "string", "enum": sorted(map(str, STATE_NAMES))}


class Meant(Input):
    """Which jobs are meant; what is left out is not asked about."""

    # Its words are checked by the queue, which names the nearest.
    status: list[Annotated[str, WithJsonSchema(_STATE)]] = Field(default_factory=list)
    # So are these.
    outcome: list[Annotated[str, WithJsonSchema(_OUTCOME)]] = Field(default_factory=list, description="how they ended")
    job_type: str | None = Field(default=None)
    fields: dict[str, Annotated[str, Field(max_length=MAX_VALUE_CHARS)]] = Field(
        default_factory=dict, max_length=MAX_FIELDS, description="values of indexed fields; all must fit"
    )
    fingerprint: str | None = Field(default=None, description="failed for this reason")
    since: int | None = Field(default=None, ge=0, le=MAX_INSTANT_MS, description="ended, due or added then or later")
    until: int | None = Field(default=None, ge=0, le=MAX_INSTANT_MS, description="then or before")


class Wanted(Body):
    """What is to be done to which jobs."""

    action: Annotated[str, WithJsonSchema(_ACTION)]
    filter: Meant = Field(default_factory=Meant)
    per_second: int = Field(default=200, ge=1, le=MAX_PER_SECOND, description="jobs a second, at most")
    reason: str = Field(
        default="", max_length=MAX_REASON_CHARS, description="why; it is kept with jobs that are cancelled"
    )
    dry_run: bool = Field(default=True, description="only count; false begins")


@api.post("/queues/<queue>/bulk")
@declared({200: BulkCount, 202: BulkOperation})
def begin(queue: ThisQueue, body: Wanted) -> tuple[BulkCount | BulkOperation, int]:
    """Count the jobs that an action is meant for; with `dryRun` false begin it.

    It is done in steps by the admin, and goes on after a crash; jobs that come into its states later are not meant.
    """
    operations = Operations(all_queues())
    bulk_request = _bulk_request(body)
    if body.dry_run:
        count, is_exact = operations.count(queue.name, bulk_request)
        counted = BulkCount(
            dry_run=True, queue_name=queue.name, action=bulk_request.action, count=count, is_exact=is_exact
        )
        return counted, 200
    return operations.begin(queue.name, bulk_request).shown(), 202


@api.get("/bulk")
@declared(BulkList)
def list_all() -> BulkList:
    """List the bulk operations of all queues, the newest first.

    Fifty that are finished are kept of each queue, and fifty that are stopped.
    """
    return BulkList(operations=[operation.shown() for operation in Operations(all_queues()).all()])


@api.get("/queues/<queue>/bulk/<operation>")
@declared(BulkOperation)
def show(queue: ThisQueue, operation: OperationId) -> BulkOperation:
    """Show how far a bulk operation is."""
    return Operations(all_queues()).get(queue.name, operation).shown()


@api.post("/queues/<queue>/bulk/<operation>/stop")
@declared(BulkOperation, problems=(409, 503))
def stop(queue: ThisQueue, operation: OperationId) -> BulkOperation:
    """Stop a bulk operation after the step at hand; what it did stays done."""
    return Operations(all_queues()).stop(queue.name, operation).shown()


@api.post("/queues/<queue>/bulk/<operation>/resume")
@declared(BulkOperation, problems=(409, 503))
def resume(queue: ThisQueue, operation: OperationId) -> BulkOperation:
    """Let a stopped bulk operation go on where it stopped."""
    return Operations(all_queues()).resume(queue.name, operation).shown()


def _bulk_request(body: Wanted) -> BulkRequest:
    meant = body.filter
    return BulkRequest(
        action=body.action,
        job_filter=JobFilter(
            states=tuple(dict.fromkeys(meant.status)),
            outcomes=tuple(dict.fromkeys(meant.outcome)),
            job_type=meant.job_type,
            fields=meant.fields,
            fingerprint=meant.fingerprint,
            since_ms=meant.since,
            until_ms=meant.until,
        ),
        per_second=body.per_second,
        by=current_actor().name,
        reason=body.reason,
    )
