"""How many runs of each actor have ended so far, by outcome; the settling scripts count them, so a kill loses none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.exceptions import ResponseError

from .. import keys
from ..endings import Outcome
from .link import CallerLinks

#: The number of ended runs by actor and outcome.
Totals = Mapping[tuple[str, str], int]

#: Counts the runs of a body without an actor's name, and of all further actors once a queue has had a hundred.
UNKNOWN_ACTOR = "unknown"
_OUTCOMES = {outcome.value.encode() for outcome in Outcome}


def read_totals(links: CallerLinks, bases: Mapping[str, str]) -> dict[str, Totals]:
    """Return each queue's totals in one round trip; `bases` has the prefixes of their keys by name.

    Runs that an earlier release settled are not counted. Raises `RedisUnavailable` if Redis does not reply.
    """
    replies = links.attempt([("HGETALL", keys.TOTALS.of(base)) for base in bases.values()])
    # A key of another type has no totals, which does not affect the other queues.
    readable = {name: reply for name, reply in zip(bases, replies, strict=True) if not isinstance(reply, ResponseError)}
    return {name: _unpack(reply) for name, reply in readable.items()}


def _unpack(reply: Sequence[bytes]) -> Totals:
    """Unpack the hash without invalid entries, which somebody may have edited in Redis."""
    found: dict[tuple[str, str], int] = {}
    for name, number in zip(reply[::2], reply[1::2], strict=True):
        if is_total(name, number):
            outcome, _, actor = name.partition(b":")
            found[actor.decode(errors="replace"), outcome.decode()] = int(number)
    return found


def is_total(field: bytes, value: bytes) -> bool:
    """Return True if a field of the hash and its value are valid."""
    return field.partition(b":")[0] in _OUTCOMES and value.isdigit()
