"""Readings that need several calls one after another, made side by side: a round trip carries the next calls of all.

A reading is a generator. It yields calls, is sent their replies, and returns what it found.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import WrongKeyType
from .link import CallerLinks, Request

Found = TypeVar("Found")

Steps = Generator[Sequence[Request], list[Any], Found]


def ask(request: Request) -> Steps[Any]:
    """Return the reply to one call."""
    (reply,) = yield [request]
    return reply


def run(links: CallerLinks, steps: Steps[Found]) -> Found:
    """Make one reading.

    Raises `RedisUnavailable`, and what the reading raises.
    """
    found = _next(steps, None)
    while isinstance(found, _Asked):
        found = _next(steps, links.run(found.requests))
    return found


def run_together(links: CallerLinks, readings: Sequence[Steps[Found]]) -> list[Found | WrongKeyType]:
    """Make readings side by side; one that meets a key of a wrong type ends in that error, which spoils no other.

    Raises `RedisUnavailable`, and what a reading raises.
    """
    found: list[Any] = [_next(steps, None) for steps in readings]
    while pending := {n: each for n, each in enumerate(found) if isinstance(each, _Asked)}:
        replies = iter(links.run_each([request for each in pending.values() for request in each.requests]))
        for number, asked in pending.items():
            own = [next(replies) for _ in asked.requests]
            wrong = next((reply for reply in own if isinstance(reply, WrongKeyType)), None)
            found[number] = wrong if wrong is not None else _next(readings[number], own)
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a reading asks next."""

    requests: Sequence[Request]


def _next(steps: Steps[Found], replies: list[Any] | None) -> Found | _Asked:
    """Return what a reading asks next, or what it found."""
    try:
        return _Asked(next(steps) if replies is None else steps.send(replies))
    except StopIteration as end:
        found: Found = end.value
        return found
