"""Bulk operations: started from a job list after confirmation, watched, stopped and resumed."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request

from nomad_actors.logs.counted import counted
from nomad_actors.queues.bulk import BulkRequest, Operations

from ..access import forms
from ..access.actors import current_actor
from ..current_app import all_queues
from ..inputs import NoQuery, read_form, read_query
from ..listing import JobsQuery, job_filter
from ..urls import link, queue_path
from .form_action import FormAction

pages = Blueprint("pages_bulk", __name__)

OPERATIONS = "/admin/bulk"


class BulkQuery(JobsQuery):
    """A bulk operation on the jobs of a list."""

    action: str = ""
    status: str = ""
    queue: str = ""


@pages.get(OPERATIONS)
def operations() -> str:
    """Show the bulk operations of all queues, newest first."""
    read_query(request, NoQuery)
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
def begin(queue: str) -> Response:
    """Start a bulk operation."""
    all_queues().get_queue(queue)
    with FormAction(link(OPERATIONS), on_error=queue_path(queue)) as form:
        bulk_request = _bulk_request(read_form(request, BulkQuery, ignore=forms.FIELD))
        operation = Operations(all_queues()).begin(queue, bulk_request)
        form.done(
            f"The operation has started, for {counted(operation.total, 'job')} of {queue}. "
            "Reload this page to see its progress."
        )
    return form.response()


@pages.post("/admin/queues/<queue>/bulk/<operation>/stop")
def stop(queue: str, operation: str) -> Response:
    """Stop an operation after its current step."""
    all_queues().get_queue(queue)
    with FormAction(link(OPERATIONS)) as form:
        Operations(all_queues()).stop(queue, operation)
        form.done("The operation is stopped. What it has already done stays done.")
    return form.response()


@pages.post("/admin/queues/<queue>/bulk/<operation>/resume")
def resume(queue: str, operation: str) -> Response:
    """Resume a stopped operation."""
    all_queues().get_queue(queue)
    with FormAction(link(OPERATIONS)) as form:
        Operations(all_queues()).resume(queue, operation)
        form.done("The operation continues where it stopped.")
    return form.response()


def _bulk_request(query: BulkQuery) -> BulkRequest:
    return BulkRequest(action=query.action, job_filter=job_filter(query), by=current_actor().name)
