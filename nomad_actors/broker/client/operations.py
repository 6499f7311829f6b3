"""The records of bulk operations, beside the queue that they work on; the broker knows their revision alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .. import keys
from .link import Call, CallerLinks

Told = Mapping[str, Any]


class OperationBook:
    """One queue's bulk operations.

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, links: CallerLinks, base: str) -> None:
        self._links = links
        self._base = base

    def read(self) -> dict[str, Told]:
        """Return every operation that is kept, by id; nothing of one whose record is no JSON object."""
        (fields,) = self._links.read([("HGETALL", keys.OPERATIONS.of(self._base))])
        pairs = zip(fields[::2], fields[1::2], strict=True)
        return {name.decode(errors="replace"): _told(text) for name, text in pairs}

    def put(self, operation_id: str, told: Told, *, seen: int) -> Told | None:
        """Keep a record in place of the revision `seen` (0 for none); return it, None when another has changed it."""
        text = json.dumps({**told, "revision": seen + 1, "change": os.urandom(8).hex()})
        word, stands = self._run(operation_id, seen, text)
        return json.loads(stands) if word == b"ok" else None

    def drop(self, operation_id: str, *, seen: int) -> None:
        """Drop a record, if it is still of that revision."""
        self._run(operation_id, seen, "")

    def _run(self, *arguments: Any) -> tuple[bytes, bytes]:
        word, stands = self._links.run([Call("save_operation", self._base, arguments)])[0]
        return word, stands


def _told(text: bytes) -> Told:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
