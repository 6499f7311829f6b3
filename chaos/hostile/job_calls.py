"""Hostile arguments of `add_job`."""

from __future__ import annotations

import random
from typing import Any

from . import objects, texts
from .job_types import DATA, Anything

FIELDS = (*Anything.model_fields, "unknown", "Value", "self", "cls", "__class__", "")
#: The application's own job types: most data is refused, and no worker of the proof runs accepted jobs.
_OTHERS = (("token-refresh", "token-refresh"), ("cache-cleanup", "cache-cleanup"), ("esi-refresh", "esi-data-refresh"))


def arguments(draw: random.Random) -> dict[str, Any]:
    """Return keyword arguments for `add_job`, some of them hostile."""
    queue, job_type = draw.choice((*((DATA.queue, DATA.name),) * 8, *_OTHERS))
    call: dict[str, Any] = {"queue": queue, "job_type": job_type, "data": data(draw)}
    if draw.random() < 0.15:
        call[draw.choice(("queue", "job_type"))] = draw.choice((objects.anything, texts.text))(draw)
    for name in draw.sample(_OPTIONS, draw.choice((0, 1, 1, 2, 4))):
        call[name] = draw.choice((objects.anything, texts.text, _nearly_valid(name)))(draw)
    return call


def data(draw: random.Random) -> Any:
    """Return data for a job, mostly with its fields."""
    if draw.random() < 0.15:
        return objects.anything(draw)
    if draw.random() < 0.5:
        return {"value": objects.anything(draw)}
    return {draw.choice(FIELDS): objects.anything(draw) for _ in range(draw.randint(0, 4))}


_OPTIONS = (
    *("priority", "attempts", "backoff", "delay", "requested_by"),
    *("job_id", "unique_key", "unique_until", "unique_replace", "idempotency_key"),
)


def _nearly_valid(name: str) -> Any:
    values: dict[str, tuple[Any, ...]] = {
        "priority": (1, "high", "HIGH", 0, 6, True, 1.0, "1", " 1"),
        "attempts": (1, 1000, 1001, 0, -1, True, 2.0, "3"),
        "backoff": ({"type": "fixed", "delay": 1}, {"type": "fixed", "delay": 10**20}, {"type": [], "delay": 1}, {}),
        "delay": (0, 1, 5, -1, 315_360_000_000, 10**30, True, 0.5, "5"),
        "requested_by": ("me", "x" * 10_000, 5, b"me"),
        "job_id": ("hostile-1", "a/b", "/a", "é" * 199, "{a}", "x" * 200, "x" * 201),
        "unique_key": ("key", "x" * 200, "x" * 10_000, 5),
        "unique_until": ("end", "start", 5, 0, -1, 10**30, 1.5, "later"),
        "unique_replace": (True, 1, "yes", []),
        "idempotency_key": ("key-1", "key-2", "x" * 10_000, 5),
    }
    return lambda draw: draw.choice(values[name])
