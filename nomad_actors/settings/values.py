"""Parsers of settings' values: each returns the value of a text, or raises `ValueError`."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import WrongValue
from .addresses import is_loopback_host

_RETENTION = re.compile(r"([0-9]{1,9})/([0-9]{1,6})([mhd])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class RetentionLimit(NamedTuple):
    """Retention of ended jobs in a queue: how many, and for how long."""

    jobs: int
    age_ms: int


def integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


RETENTION_ALLOWED = "jobs/age, such as 1000/24h (units m, h, d; 0/0h keeps none)"


def retention(text: str) -> RetentionLimit:
    match = _RETENTION.fullmatch(text.lower())
    if match is None:
        raise ValueError(text)
    return RetentionLimit(int(match[1]), int(match[2]) * _UNIT_MS[match[3]])


def one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(text)
        return text.lower()

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError(text)
        _ = parts.port  # raises ValueError for a port that is no number
        return text

    return parse


def database_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "sqlite" and parts.netloc:
        # A file has no host: sqlite://localhost/a could mean sqlite:///a or an absolute path.
        raise ValueError(text)
    return url("sqlite", "postgresql", "postgresql+psycopg")(text)


TLS_URL_ALLOWED = "an https:// URL; http:// only for a loopback address, because tokens are sent to it"


def tls_url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or (
        parts.scheme == "http" and not (is_loopback_host(parts.hostname) or parts.hostname.endswith(".localhost"))
    ):
        raise ValueError(text)
    return url("http", "https")(text).rstrip("/")


def dsn(text: str) -> str:
    parts = urlsplit(text)
    project = parts.path.rpartition("/")[2]
    if not (text.isprintable() and parts.username and parts.hostname and re.fullmatch(r"[0-9]+", project)):
        raise ValueError(text)
    return url("http", "https")(text)


def host(text: str) -> str:
    if ":" in text:
        return f"[{ipaddress.IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError(text)
    return text


def listening(text: str) -> str:
    return str(ipaddress.IPv6Address(text)) if ":" in text else host(text)


def hosts(text: str) -> tuple[str, ...]:
    names = tuple(word.lower() for word in words(text))
    if not all(re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", name) for name in names):
        raise ValueError(text)
    return tuple(name.strip("[]") for name in names)


def flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(text)
    return text


def words(text: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in text.split(","))
    if not all(found):
        raise ValueError(text)
    return found


TOKEN_KEYS_ALLOWED = "comma-separated keys of 32 random bytes (openssl rand -base64 32), newest first"


def token_keys(text: str) -> tuple[str, ...]:
    keys = words(text)
    if not is_strong(keys[0]):
        raise WrongValue(
            "its first key, which encrypts, is not 32 random bytes in base64 or hexadecimal; keep an older key "
            "unchanged after a new one"
        )
    return keys


def is_strong(key: str) -> bool:
    """Return whether a key that encrypts tokens is hexadecimal or base64 of at least 32 bytes that look random."""
    decoded = _decoded(key)
    # 32 random bytes have about 30 different values; fewer than 16 do not occur by chance.
    return len(decoded) >= 32 and len(set(decoded)) >= 16


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


def modules(text: str) -> tuple[str, ...]:
    names = words(text)
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError(text)
    return names
