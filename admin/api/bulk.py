"""Bulk operations: one action on many jobs. Count, start, show, stop and resume them."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint
from pydantic import Field, WithJsonSchema

from nomad_actors.queues.bulk import ACTIONS, MAX_PER_SECOND, BulkRequest, Operations
from nomad_actors.queues.bulk.operation import BulkOperation
from nomad_actors.queues.search import JobFilter

from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import MAX_REASON_CHARS, Input
from ..listing import MAX_FIELDS, OUTCOME, STATE, FieldValue, Instant
from .declared import InPath, ThisQueue, declared
from .models import BulkCount, BulkList

api = Blueprint("bulk", __name__, url_prefix="/admin/jobs")

OperationId = Annotated[str, InPath("a bulk operation's id")]

_ACTION = {"type": "string", "enum": list(ACTIONS)}


class BulkFilter(Input):
    """Which jobs to select; a condition that is left out selects all."""

    # The queue checks the values and suggests the closest one.
    status: list[Annotated[str, WithJsonSchema(STATE)]] = Field(default_factory=list)
    # Also checked by the queue.
    outcome: list[Annotated[str, WithJsonSchema(OUTCOME)]] = Field(default_factory=list, description="how they ended")
    job_type: str | None = Field(default=None)
    fields: dict[str, FieldValue] = Field(
        default_factory=dict, max_length=MAX_FIELDS, description="values of indexed fields; all must match"
    )
    fingerprint: str | None = Field(default=None, description="jobs that failed for this reason")
    since: Instant | None = Field(default=None, description="ended, due or added at or after this time")
    until: Instant | None = Field(default=None, description="at or before this time")


class BulkBody(Input):
    """An action and the jobs that it applies to."""

    action: Annotated[str, WithJsonSchema(_ACTION)]
    filter: BulkFilter = Field(default_factory=BulkFilter)
    per_second: int = Field(default=200, ge=1, le=MAX_PER_SECOND, description="maximum jobs per second")
    reason: str = Field(default="", max_length=MAX_REASON_CHARS, description="the reason; cancelled jobs keep it")
    dry_run: bool = Field(default=True, description="only count the jobs; false starts the operation")


@api.post("/queues/<queue>/bulk")
@declared({200: BulkCount, 202: BulkOperation})
def begin(queue: ThisQueue, body: BulkBody) -> tuple[BulkCount | BulkOperation, int]:
    """Count the jobs that an action applies to; if `dryRun` is false, start it.

    The admin runs it in steps and continues after a crash. Jobs that enter the selected states later are not affected.
    """
    operations = Operations(all_queues())
    bulk_request = _bulk_request(body)
    if body.dry_run:
        count, is_exact = operations.count(queue.name, bulk_request)
        return BulkCount(
            dry_run=True, queue_name=queue.name, action=bulk_request.action, count=count, is_exact=is_exact
        ), 200
    return operations.begin(queue.name, bulk_request).shown(), 202


@api.get("/bulk")
@declared(BulkList)
def list_all() -> BulkList:
    """List the bulk operations of all queues, the newest first.

    Each queue keeps fifty finished and fifty stopped operations.
    """
    return BulkList(operations=[operation.shown() for operation in Operations(all_queues()).all()])


@api.get("/queues/<queue>/bulk/<operation>")
@declared(BulkOperation)
def show(queue: ThisQueue, operation: OperationId) -> BulkOperation:
    """Show the progress of a bulk operation."""
    return Operations(all_queues()).get(queue.name, operation).shown()


@api.post("/queues/<queue>/bulk/<operation>/stop")
@declared(BulkOperation, problems=(409, 503))
def stop(queue: ThisQueue, operation: OperationId) -> BulkOperation:
    """Stop a bulk operation after the current step; what it has done stays."""
    return Operations(all_queues()).stop(queue.name, operation).shown()


@api.post("/queues/<queue>/bulk/<operation>/resume")
@declared(BulkOperation, problems=(409, 503))
def resume(queue: ThisQueue, operation: OperationId) -> BulkOperation:
    """Resume a stopped bulk operation where it stopped."""
    return Operations(all_queues()).resume(queue.name, operation).shown()


def _bulk_request(body: BulkBody) -> BulkRequest:
    selected = body.filter
    return BulkRequest(
        action=body.action,
        job_filter=JobFilter(
            states=tuple(dict.fromkeys(selected.status)),
            outcomes=tuple(dict.fromkeys(selected.outcome)),
            job_type=selected.job_type,
            fields=selected.fields,
            fingerprint=selected.fingerprint,
            since_ms=selected.since,
            until_ms=selected.until,
        ),
        per_second=body.per_second,
        by=current_actor().name,
        reason=body.reason,
    )
