"""How many runs of each actor ever ended, by outcome, as the settling scripts count them: a kill loses none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.exceptions import ResponseError

from .. import keys
from ..endings import Outcome
from .link import CallerLinks

#: How many runs of an actor ended with an outcome.
Totals = Mapping[tuple[str, str], int]

#: Who is counted for a body that names nobody, and once a queue has had a hundred names.
UNKNOWN_ACTOR = "unknown"
_OUTCOMES = {outcome.value.encode() for outcome in Outcome}


def read_totals(links: CallerLinks, bases: Mapping[str, str]) -> dict[str, Totals]:
    """Return each queue's totals in one round trip; `bases` are the beginnings of their keys by name.

    A queue whose jobs an earlier release settled begins at zero. Raises `RedisUnavailable` when Redis does not answer.
    """
    replies = links.attempt([("HGETALL", keys.TOTALS.of(base)) for base in bases.values()])
    # A key of another type has no totals; the other queues do.
    readable = {name: reply for name, reply in zip(bases, replies, strict=True) if not isinstance(reply, ResponseError)}
    return {name: _unpack(reply) for name, reply in readable.items()}


def _unpack(reply: Sequence[bytes]) -> Totals:
    """Return what is stored; what is no total, after somebody's hand in Redis, is left out."""
    found: dict[tuple[str, str], int] = {}
    for name, number in zip(reply[::2], reply[1::2], strict=True):
        if is_total(name, number):
            outcome, _, actor = name.partition(b":")
            found[actor.decode(errors="replace"), outcome.decode()] = int(number)
    return found


def is_total(field: bytes, value: bytes) -> bool:
    """Return whether a field of the hash and its value can be read."""
    return field.partition(b":")[0] in _OUTCOMES and value.isdigit()
