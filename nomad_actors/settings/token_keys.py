"""The required strength of a key that encrypts stored tokens."""

from __future__ import annotations

import base64
import binascii

ALLOWED = "comma-separated keys of 32 random bytes (openssl rand -base64 32), newest first"
#: The length of keys from `openssl rand -base64 32`.
MIN_KEY_BYTES = 32
#: 32 random bytes have about 30 different values; so few do not occur by chance.
_MIN_DIFFERENT_BYTES = 16


def is_strong(key: str) -> bool:
    """Return whether a key is strong enough: hexadecimal or base64 of at least 32 bytes that look random."""
    decoded = _decoded(key)
    return len(decoded) >= MIN_KEY_BYTES and len(set(decoded)) >= _MIN_DIFFERENT_BYTES


def _decoded(key: str) -> bytes:
    try:
        # Try this first: hexadecimal is also valid base64, but of other bytes.
        return bytes.fromhex(key)
    except ValueError:
        pass
    bare = key.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
