"""How a page's button ends: back on a page that says what was done, or why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

from flask import Response, make_response, redirect

from nomad_actors.errors import BadInput, JobNotFound, NomadError, Unavailable, UnknownQueue, UnknownSchedule

from .. import problems
from ..access import journal
from . import notices

_SECONDS = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?")


def done(act: Callable[[], str], back: str, *, otherwise: str | None = None, when_gone: str | None = None) -> Response:
    """Do it and go `back`, or `otherwise` when it could not be done, with a notice of which.

    A job that is gone has no page: then it goes to `when_gone`. Raises `UnknownQueue`, `UnknownSchedule`,
    `Unavailable`: there is no page to go back to.
    """
    try:
        text, is_done = act(), True
    except (UnknownQueue, UnknownSchedule, Unavailable):
        raise
    except NomadError as error:
        journal.told(problems.status_of(error), str(error))
        text, is_done = str(error), False
        if isinstance(error, JobNotFound):
            otherwise = when_gone or otherwise
    answer = make_response(redirect(back if is_done else otherwise or back, HTTPStatus.SEE_OTHER))
    notices.leave(answer, text, done=is_done)
    return answer


def whole(name: str, text: str | None, low: int, high: int) -> int:
    """Return a form's field as a whole number from `low` to `high`.

    Raises `BadInput` for anything else.
    """
    if text and text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high:
        return int(text)
    accepted = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {text!r:.80} is unusable (accepted: {accepted})", accepted=[accepted])


def seconds_ms(name: str, text: str, most_ms: int) -> int:
    """Return a form's field, seconds to the millisecond, in ms from 1 to `most_ms`.

    Raises `BadInput` for anything else.
    """
    found = _SECONDS.fullmatch(text)
    ms = int(found[1]) * 1000 + int((found[2] or "").ljust(3, "0")) if found else 0
    if 1 <= ms <= most_ms:
        return ms
    accepted = f"seconds from 0.001 to {most_ms // 1000}, to the millisecond"
    raise BadInput(f"{name} {text!r:.80} is unusable (accepted: {accepted})", accepted=[accepted])
