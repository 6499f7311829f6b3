"""Bulk operations: started from a job list after confirmation, watched, stopped and resumed."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from nomad_actors.logs.counted import counted
from nomad_actors.queues.bulk import BulkRequest, Operations

from ..access import forms
from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import NoInput, read_form, read_query
from ..listing import JobsQuery, job_filter
from ..urls import OPERATIONS, link, queue_path
from .buttons import button

pages = Blueprint("pages_bulk", __name__)


class BulkQuery(JobsQuery):
    """A bulk operation on the jobs of a list."""

    action: str = ""
    status: str = ""
    queue: str = ""


@pages.get(OPERATIONS)
def operations() -> str:
    """Show the bulk operations of all queues, newest first."""
    read_query(request, NoInput)
    return render_template("bulk.html", operations=Operations(all_queues()).all())


@pages.get("/admin/confirm/bulk")
def confirm() -> str:
    """Show how many jobs match, and ask for confirmation."""
    query = read_query(request, BulkQuery)
    count, is_exact = Operations(all_queues()).count(query.queue, _bulk_request(query))
    fields = [
        (name, value) for name, value in request.args.items(multi=True) if name not in ("limit", "cursor") and value
    ]
    # A list, not a dict: a field may occur several times.
    facts = [(name.capitalize(), value) for name, value in fields if name != "action"]
    return render_template(
        "confirm.html",
        question=f"{query.action.capitalize()} {'' if is_exact else 'up to '}{counted(count, 'job')}?",
        facts=[*facts, ("Speed", f"{BulkRequest.per_second} jobs a second; you can stop the operation")],
        action=f"{queue_path(query.queue)}/bulk",
        fields=[(name, value) for name, value in fields if name != "queue"],
        verb=f"{query.action.capitalize()} them",
        back=f"{queue_path(query.queue)}?{urlencode([pair for pair in fields if pair[0] not in ('queue', 'action')])}",
    )


@pages.post("/admin/queues/<queue>/bulk")
@button
def begin(queue: str) -> tuple[str, str]:
    all_queues().get_queue(queue)
    bulk_request = _bulk_request(read_form(request, BulkQuery, ignore=forms.FIELD))
    operation = Operations(all_queues()).begin(queue, bulk_request)
    notice = f"The operation has started, for {counted(operation.total, 'job')} of {queue}. "
    return f"{notice}Reload this page to see its progress.", link(OPERATIONS)


@pages.post("/admin/queues/<queue>/bulk/<operation>/stop")
@button
def stop(queue: str, operation: str) -> str:
    Operations(all_queues()).stop(queue, operation)
    return "The operation is stopped. What it has already done stays done."


@pages.post("/admin/queues/<queue>/bulk/<operation>/resume")
@button
def resume(queue: str, operation: str) -> str:
    Operations(all_queues()).resume(queue, operation)
    return "The operation continues where it stopped."


def _bulk_request(query: BulkQuery) -> BulkRequest:
    return BulkRequest(action=query.action, job_filter=job_filter(query), by=current_actor().name)
