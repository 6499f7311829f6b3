"""The sandbox' parts in one place, made once per app and handed to each blueprint."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass

from .caching import Snapshots
from .clock import SandboxClock
from .faults import Faults
from .grants import Grants
from .limits import ErrorLimit, TokenBuckets
from .tokens import Signer
from .world.characters import World

KEPT_REQUESTS = 20_000


@dataclass(frozen=True)
class Heard:
    """One request that was answered: what tests look at to see who asked for what."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    user_agent: str
    at_ms: int


class RequestLog:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._heard: deque[Heard] = deque(maxlen=KEPT_REQUESTS)
        self._lock = threading.Lock()

    def add(self, heard: Heard) -> None:
        """Remember one request."""
        with self._lock:
            self._heard.append(heard)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._heard.clear()

    def all(self) -> list[Heard]:
        """Return the remembered requests."""
        with self._lock:
            return list(self._heard)

    def as_json(self) -> list[dict[str, object]]:
        """Return the remembered requests as JSON objects."""
        return [asdict(heard) for heard in self.all()]


class Parts:
    """World, clock, caches, limits, logins, faults and the log of one sandbox."""

    def __init__(self, *, seed: int, characters: int, clock: SandboxClock, enforce_limits: bool) -> None:
        self.clock = clock
        self.enforce_limits = enforce_limits
        self.world = World(seed=seed, characters=characters)
        self.snapshots = Snapshots(clock)
        self.buckets = TokenBuckets(clock)
        self.error_limit = ErrorLimit(clock)
        self.grants = Grants(self.world, clock)
        self.signer = Signer(clock)
        self.faults = Faults()
        self.log = RequestLog()
