"""The records of bulk operations, beside the queue that they work on; the broker knows their revision alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .. import keys
from .link import Call, CallerLinks
from .steps import Steps, ask

Told = Mapping[str, Any]


class OperationBook:
    """One queue's bulk operations.

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, links: CallerLinks, base: str) -> None:
        self._links = links
        self._base = base

    def reading(self) -> Steps[dict[str, Told]]:
        """Read every operation that is kept, by id; nothing of one whose record is no JSON object."""
        fields = yield from ask(("HGETALL", keys.OPERATIONS.of(self._base)))
        pairs = zip(fields[::2], fields[1::2], strict=True)
        return {name.decode(errors="replace"): _told(text) for name, text in pairs}

    def put(self, operation_id: str, told: Told, *, seen: int, drop: Sequence[tuple[str, int]] = ()) -> Told | None:
        """Keep a record in place of the revision `seen` (0 for none); return it, None when another has changed it.

        The records to `drop` go after it, each if it is still of its revision.
        """
        text = json.dumps({**told, "revision": seen + 1, "change": os.urandom(8).hex()})
        calls = [self._call(operation_id, seen, text), *(self._call(other, revision, "") for other, revision in drop)]
        (word, kept), *_ = self._links.run(calls)
        return json.loads(kept) if word == b"ok" else None

    def _call(self, operation_id: str, seen: int, text: str) -> Call:
        return Call("save_operation", self._base, (operation_id, seen, text))


def _told(text: bytes) -> Told:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
