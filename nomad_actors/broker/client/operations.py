"""The stored records of a queue's bulk operations, of which the broker itself uses only the revision."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .. import keys
from .link import Call, CallerLinks
from .steps import Steps, ask

OperationFields = Mapping[str, Any]


class OperationBook:
    """One queue's bulk operations. Every method raises `RedisUnavailable` if Redis does not reply."""

    def __init__(self, links: CallerLinks, base: str) -> None:
        self._links = links
        self._base = base

    def reading(self) -> Steps[dict[str, OperationFields]]:
        """Read all stored operations by id; one whose record is not a JSON object is empty."""
        fields = yield from ask(("HGETALL", keys.OPERATIONS.of(self._base)))
        pairs = zip(fields[::2], fields[1::2], strict=True)
        return {name.decode(errors="replace"): _decode(text) for name, text in pairs}

    def put(
        self, operation_id: str, fields: OperationFields, *, seen: int, drop: Sequence[tuple[str, int]] = ()
    ) -> OperationFields | None:
        """Save a record that replaces revision `seen` (0 for none); return it, or None if it was changed meanwhile.

        Then delete the records to `drop`, given as id and revision, that have not changed since.
        """
        text = json.dumps({**fields, "revision": seen + 1, "change": os.urandom(8).hex()})
        calls = [self._call(operation_id, seen, text), *(self._call(other, revision, "") for other, revision in drop)]
        (word, saved), *_ = self._links.run(calls)
        return json.loads(saved) if word == b"ok" else None

    def _call(self, operation_id: str, seen: int, text: str) -> Call:
        return Call("save_operation", self._base, (operation_id, seen, text))


def _decode(text: bytes) -> OperationFields:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
