"""Values that ESI changed in rows that never change: the row gets the new value, the old one stands here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ... import exact_json
from ..schema import history_corrections
from .completeness import DATA_TYPE_BY_ROUTE
from .rows import Snapshot


def save_corrections(
    connection: Connection, snapshot: Snapshot, key: str, changed: Sequence[tuple[Row[Any], Mapping[str, Any]]]
) -> None:
    """Save what differs between the stored and the new row of each pair; `key` is the column of their id."""
    corrections = [
        {
            "character_id": snapshot.character_id,
            "data_type": DATA_TYPE_BY_ROUTE[snapshot.route],
            "row_id": new[key],
            "corrected_ms": snapshot.read_at_ms,
            "route": snapshot.route,
            "request_id": snapshot.request_id,
            **difference,
        }
        for old, new in changed
        for difference in _differences(old._mapping, new)
    ]
    if corrections:
        connection.execute(sa.insert(history_corrections), corrections)


def _differences(old: Mapping[Any, Any], new: Mapping[str, Any]) -> Iterator[dict[str, str | None]]:
    for name, value in new.items():
        if old[name] != value:
            yield {"field": name, "old_value": _json(old[name]), "new_value": _json(value)}


def _json(value: Any) -> str | None:
    return None if value is None else exact_json.dumps(value, sort_keys=True)
