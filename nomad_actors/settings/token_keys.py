"""How strong a key must be that encrypts the stored tokens."""

from __future__ import annotations

import base64
import binascii

ACCEPTED = "keys of 32 random bytes (openssl rand -base64 32) with commas between them, newest first"
#: What `openssl rand -base64 32` makes.
LEAST_BYTES = 32
#: 32 random bytes have 30 different ones; fewer than this do not happen by chance.
_LEAST_DIFFERENT_BYTES = 16


def is_strong(key: str) -> bool:
    """Return whether a key may encrypt: hexadecimal or base64 of at least 32 bytes that look random."""
    decoded = _decoded(key)
    return len(decoded) >= LEAST_BYTES and len(set(decoded)) >= _LEAST_DIFFERENT_BYTES


def _decoded(key: str) -> bytes:
    try:
        # Hexadecimal is base64 too, of other bytes.
        return bytes.fromhex(key)
    except ValueError:
        pass
    bare = key.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
