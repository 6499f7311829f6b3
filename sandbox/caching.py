"""ESI's caching: a response is valid until it expires, all its pages are from one time, its ETag hashes the content."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

from .clock import SandboxClock

MAX_SNAPSHOTS = 20_000


@dataclass(frozen=True)
class Snapshot:
    """The data of a route at one second, used for all pages until it expires."""

    document: object
    taken_s: int
    expires_s: int


class Snapshots:
    """Caches responses until they expire, as ESI does: an earlier request gets the same data."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._snapshots: dict[object, Snapshot] = {}
        self._lock = threading.Lock()

    def get(self, key: object, cache_seconds: int, make: Callable[[int], object], *, renew: bool = False) -> Snapshot:
        """Return the current snapshot of `key`, or take a new one if it has expired or if `renew`."""
        with self._lock:
            current = self._snapshots.get(key)
            if current is not None and current.expires_s > self._clock.now_s() and not renew:
                return current
            # HTTP dates have whole seconds: a renewed snapshot must differ from the previous one even within a second.
            taken_s = max(self._clock.now_s(), current.taken_s + 1 if current else 0)
            if len(self._snapshots) >= MAX_SNAPSHOTS:
                self._drop_expired()
            self._snapshots[key] = Snapshot(make(taken_s), taken_s, taken_s + cache_seconds)
            return self._snapshots[key]

    def _drop_expired(self) -> None:
        now_s = self._clock.now_s()
        self._snapshots = {key: each for key, each in self._snapshots.items() if each.expires_s > now_s}


def etag_of(body: bytes) -> str:
    """Return the ETag of a body; it depends only on the content, so that it stays valid after the expiry."""
    return f'"{hashlib.sha256(body).hexdigest()[:56]}"'


def validators(etag: str, snapshot: Snapshot, now_s: int, *, private: bool, event_based: bool) -> dict[str, str]:
    """Return the caching headers of a response.

    On event-based routes `Expires` is the time of the response: according to CCP it has no meaning there (blog of
    2026-01-27), and clients must read `Cache-Control` first.
    """
    expires_s = now_s if event_based else snapshot.expires_s
    scope = "private" if private else "public"
    return {
        "ETag": etag,
        "Last-Modified": formatdate(snapshot.taken_s, usegmt=True),
        "Expires": formatdate(expires_s, usegmt=True),
        "Cache-Control": f"{scope}, max-age={max(0, snapshot.expires_s - now_s)}",
    }


def is_unchanged(etag: str, snapshot: Snapshot, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Return whether the request's validators match the response; the ETag takes precedence (RFC 9110)."""
    if if_none_match is not None:
        offered = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
        return bool(offered & {etag, "*"})
    if if_modified_since is None:
        return False
    try:
        return parsedate_to_datetime(if_modified_since).timestamp() >= snapshot.taken_s
    except ValueError:
        return False
