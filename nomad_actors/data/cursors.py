"""Cursors: texts that name a row of one listing; `after` takes one to continue after its row."""

from __future__ import annotations

import re
from datetime import datetime

from ..errors import BadInput
from ..logs.foreign_text import safe_repr
from .moments import to_ms

_CURSOR = re.compile(r"([a-z_]+)\.(-?[0-9]{1,18})\.(-?[0-9]{1,19})", re.ASCII)
#: Larger ones fit no column.
_MAX_ID = 2**63 - 1


def cursor_of(listing: str, at: datetime, key: int) -> str:
    """Return the cursor of a row: its listing, time and id."""
    return f"{listing}.{to_ms(at)}.{key}"


def read_cursor(listing: str, cursor: str) -> tuple[int, int]:
    """Return the time (ms) and the id of the row that a cursor names.

    Raises `BadInput` for what is not a cursor of `listing`.
    """
    found = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if found is None or found[1] != listing or abs(int(found[3])) > _MAX_ID:
        raise BadInput(f"{safe_repr(cursor, 100)} is not a cursor of {listing}: take `cursor` of its last row")
    return int(found[2]), int(found[3])
