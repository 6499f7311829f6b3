"""Documents as they are stored: JSON in UTF-8, compressed from a kilobyte on.

Assets of 5,000 rows shrink from 778 to 112 kB: PostgreSQL saves them in 3 ms instead of the 50 that its own compression
takes, SQLite in 4 instead of 19, for 7 ms of ours, which are spent before the transaction (docs/store.md).
"""

from __future__ import annotations

import zlib
from typing import Any

from .. import exact_json

#: Shorter documents are stored as they are.
_COMPRESSED_BYTES = 1_000
#: The smallest result that does not take twice the time.
_LEVEL = 3
#: The first byte of zlib's format, with which no JSON begins.
_ZLIB = b"x"


def pack(body: Any, *, allow_nan: bool = False) -> bytes:
    """Return a document for a column `body_json`; raises as `exact_json.dumps`."""
    data = exact_json.dumps(body, allow_nan=allow_nan).encode()
    return zlib.compress(data, _LEVEL) if len(data) > _COMPRESSED_BYTES else data


def unpack(data: bytes) -> Any:
    """Return the document of a column `body_json`."""
    return exact_json.loads((zlib.decompress(data) if data.startswith(_ZLIB) else data).decode())
