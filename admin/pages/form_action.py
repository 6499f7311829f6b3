"""Runs the action of a button, redirects with a notice, and parses numbers in forms."""

from __future__ import annotations

import re
from http import HTTPStatus
from types import TracebackType
from typing import Self

from flask import Response, make_response, redirect

from nomad_actors.errors import BadInput, JobNotFound, NomadError, Unavailable, UnknownQueue, UnknownSchedule

from .. import problems
from ..access import journal
from . import notices

_SECONDS = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?")


class FormAction:
    """Context manager for the action of a button; `response` then redirects to `back` with a notice of the result.

    After an error it redirects to `on_error` if given, and to `when_gone` if the job does not exist any more.
    `UnknownQueue`, `UnknownSchedule` and `Unavailable` propagate: there is no page to go back to.
    """

    def __init__(self, back: str, *, on_error: str | None = None, when_gone: str | None = None) -> None:
        self._target = back
        self._on_error = on_error or back
        self._when_gone = when_gone or self._on_error
        self._notice = ""
        self._succeeded = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if not isinstance(error, NomadError) or isinstance(error, (UnknownQueue, UnknownSchedule, Unavailable)):
            return False
        journal.set_outcome(problems.status_of(error), str(error))
        self._notice, self._succeeded = str(error), False
        self._target = self._when_gone if isinstance(error, JobNotFound) else self._on_error
        return True

    def done(self, notice: str) -> None:
        """Set the notice for the next page."""
        self._notice = notice

    def response(self) -> Response:
        """Return the redirect to the next page, with the notice."""
        response = make_response(redirect(self._target, HTTPStatus.SEE_OTHER))
        notices.leave(response, self._notice, done=self._succeeded)
        return response


def require_int(name: str, text: str | None, low: int, high: int) -> int:
    """Parse a form's field as a whole number from `low` to `high`.

    Raises `BadInput` for anything else.
    """
    if text and text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high:
        return int(text)
    allowed = f"a whole number from {low} to {high}"
    raise BadInput(f"{name} {text!r:.80} is invalid (allowed: {allowed})", accepted=[allowed])


def seconds_ms(name: str, text: str, most_ms: int) -> int:
    """Parse a form's field as seconds with up to three decimals; return ms from 1 to `most_ms`.

    Raises `BadInput` for anything else.
    """
    match = _SECONDS.fullmatch(text)
    ms = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")) if match else 0
    if 1 <= ms <= most_ms:
        return ms
    allowed = f"seconds from 0.001 to {most_ms // 1000}, with at most three decimals"
    raise BadInput(f"{name} {text!r:.80} is invalid (allowed: {allowed})", accepted=[allowed])
