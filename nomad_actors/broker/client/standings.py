"""How many queues stand, in two round trips however many they are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import keys
from ..errors import WrongKeyType
from .link import Call, CallerLinks
from .queue_view import Ages, LiveWorker, QueueCounts, ages_of, counts_of, live_workers


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue: its counts and the ages of its oldest jobs, of nearly one instant, and its live workers."""

    counts: QueueCounts
    ages: Ages
    workers: Sequence[LiveWorker]


def read_standings(links: CallerLinks, bases: Mapping[str, str]) -> dict[str, Standing]:
    """Return how the queues stand; `bases` are their keys' beginnings by name.

    A queue with a key of a wrong type is left out. Raises `RedisUnavailable` when Redis does not answer.
    """
    try:
        return _read(links, bases)
    except WrongKeyType:
        # One by one: the others can be read.
        found: dict[str, Standing] = {}
        for name, base in bases.items():
            with contextlib.suppress(WrongKeyType):
                found.update(_read(links, {name: base}))
        return found


def _read(links: CallerLinks, bases: Mapping[str, str]) -> dict[str, Standing]:
    told = iter(links.run([Call(script, base) for base in bases.values() for script in ("counts", "ages")]))
    *marks, now = links.read([*(("HGETALL", keys.WORKERS.of(base)) for base in bases.values()), ("TIME",)])
    return {
        name: Standing(counts_of(next(told)), ages_of(next(told)), live_workers(of_queue, now))
        for name, of_queue in zip(bases, marks, strict=True)
    }
