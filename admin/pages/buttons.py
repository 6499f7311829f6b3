"""The buttons of the pages, which redirect to a page with a notice of their result, and the numbers in their forms."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

from flask import Response, make_response, redirect

from nomad_actors.errors import BadInput, JobNotFound, NomadError, Unavailable, UnknownQueue, UnknownSchedule

from ..access import journal
from ..urls import OPERATIONS, job_path, link, queue_path, schedule_path
from . import notices

_SECONDS = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?")


def button(action: Callable[..., str | tuple[str, str]]) -> Callable[..., Response]:
    """Make a view of an action, which returns the notice, and the page that shows it unless that is its own page.

    Its own page is that of the job, bulk operation, queue or schedule in the URL; it shows the error of an action that
    failed. `UnknownQueue`, `UnknownSchedule` and `Unavailable` propagate: there is no page to go back to.
    """

    @functools.wraps(action)
    def view(**names: str) -> Response:
        page, done = _own_page(names), True
        try:
            result = action(**names)
        except (UnknownQueue, UnknownSchedule, Unavailable):
            raise
        except NomadError as error:
            journal.set_outcome(error.http_status, str(error))
            result, done = str(error), False
            if isinstance(error, JobNotFound) and "job_id" in names:
                page = queue_path(names["queue"])
        notice, page = (result, page) if isinstance(result, str) else result
        response = make_response(redirect(page, HTTPStatus.SEE_OTHER))
        notices.leave(response, notice, done=done)
        return response

    return view


def _own_page(names: Mapping[str, str]) -> str:
    match names:
        case {"operation": _}:
            return link(OPERATIONS)
        case {"queue": queue, "job_id": job_id}:
            return job_path(queue, job_id)
        case {"queue": queue}:
            return queue_path(queue)
        case {"name": schedule}:
            return schedule_path(schedule)
    return link("/admin/")


def require_int(name: str, text: str | None, low: int, high: int) -> int:
    """Parse a form's field as a whole number from `low` to `high`, or raise `BadInput`."""
    if text and text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high:
        return int(text)
    allowed = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {text!r:.80} is invalid (allowed: {allowed})", accepted=[allowed])


def seconds_ms(name: str, text: str, most_ms: int) -> int:
    """Parse a form's field as seconds with up to three decimals; return ms from 1 to `most_ms`, or raise `BadInput`."""
    match = _SECONDS.fullmatch(text)
    ms = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")) if match else 0
    if 1 <= ms <= most_ms:
        return ms
    allowed = f"seconds from 0.001 to {most_ms // 1000}, with at most three decimals"
    raise BadInput(f"{name} {text!r:.80} is invalid (allowed: {allowed})", accepted=[allowed])
