"""ESI's caching: one answer stands until it expires, its pages are of one moment, an ETag hashes the content."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

from .clock import SandboxClock

KEPT_SNAPSHOTS = 20_000


@dataclass(frozen=True)
class Snapshot:
    """What a route said at one second, good for all pages until it expires."""

    document: object
    taken_s: int
    expires_s: int


class Snapshots:
    """Keeps what was answered until it expires, as ESI does: asking again sooner gives the same."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._kept: dict[object, Snapshot] = {}
        self._lock = threading.Lock()

    def get(self, key: object, cache_seconds: int, make: Callable[[int], object], *, renew: bool = False) -> Snapshot:
        """Return the standing snapshot of `key`, or take a new one; with `renew` as if the old one had just expired."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.expires_s > self._clock.now_s() and not renew:
                return kept
            # HTTP dates count seconds: a renewed snapshot must differ from the one before even within a second.
            taken_s = max(self._clock.now_s(), kept.taken_s + 1 if kept else 0)
            if len(self._kept) >= KEPT_SNAPSHOTS:
                self._drop_expired()
            self._kept[key] = Snapshot(make(taken_s), taken_s, taken_s + cache_seconds)
            return self._kept[key]

    def _drop_expired(self) -> None:
        now_s = self._clock.now_s()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.expires_s > now_s}


def etag_of(body: bytes) -> str:
    """Return the ETag of a body: of its content alone, so that it outlives the answer's freshness."""
    return f'"{hashlib.sha256(body).hexdigest()[:56]}"'


def validators(etag: str, snapshot: Snapshot, now_s: int, *, private: bool, event_based: bool) -> dict[str, str]:
    """Return the caching headers of an answer.

    On event-based routes `Expires` is the answer's own moment: CCP says that it has no meaning there (blog of
    2026-01-27), and `Cache-Control` is to be read first.
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
    """Tell whether the asker's validators name what would be answered; the ETag counts before the date (RFC 9110)."""
    if if_none_match is not None:
        offered = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
        return bool(offered & {etag, "*"})
    if if_modified_since is None:
        return False
    try:
        return parsedate_to_datetime(if_modified_since).timestamp() >= snapshot.taken_s
    except ValueError:
        return False
