"""Runs readings that need several calls in sequence; several readings run together, and share each round trip.

A reading is a generator that yields calls, receives their replies, and returns its result.
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
    """Run one reading. Raises `RedisUnavailable`, and what the reading raises."""
    (found,) = run_together(links, [steps])
    if isinstance(found, WrongKeyType):
        raise found
    return found


def run_together(links: CallerLinks, readings: Sequence[Steps[Found]]) -> list[Found | WrongKeyType]:
    """Run readings together; one that finds a key of a wrong type returns that error and does not affect the others.

    Raises `RedisUnavailable`, and what a reading raises.
    """
    found: list[Any] = [_next(steps, None) for steps in readings]
    while pending := {n: each for n, each in enumerate(found) if isinstance(each, _Requests)}:
        replies = iter(links.run_each([request for each in pending.values() for request in each.requests]))
        for number, next_calls in pending.items():
            own = [next(replies) for _ in next_calls.requests]
            wrong = next((reply for reply in own if isinstance(reply, WrongKeyType)), None)
            found[number] = wrong if wrong is not None else _next(readings[number], own)
    return found


@dataclass(frozen=True, slots=True)
class _Requests:
    requests: Sequence[Request]


def _next(steps: Steps[Found], replies: list[Any] | None) -> Found | _Requests:
    try:
        return _Requests(next(steps) if replies is None else steps.send(replies))
    except StopIteration as end:
        found: Found = end.value
        return found
