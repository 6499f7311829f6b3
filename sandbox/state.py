"""The sandbox's state, created once per app and passed to each blueprint."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass

from .caching import Snapshots
from .clock import SandboxClock
from .conduct.observer import Conduct
from .exchange import Exchange
from .faults import Faults
from .grants import Grants
from .ledger import Ledger
from .limits import ErrorLimit, TokenBuckets
from .outages import Outages
from .refresh_load import RefreshLoad
from .script import Script
from .tokens import Signer
from .world.characters import World

MAX_LOGGED_REQUESTS = 20_000


@dataclass(frozen=True)
class LoggedRequest:
    """One request in the log, for the assertions of tests."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    user_agent: str
    at_ms: int

    @classmethod
    def of(cls, exchange: Exchange) -> LoggedRequest:
        """Return the log's entry of a finished exchange."""
        return cls(
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            status=exchange.status,
            user_agent=exchange.headers.get("user-agent", ""),
            at_ms=int(exchange.finished_s * 1000),
        )


class RequestLog:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._requests: deque[LoggedRequest] = deque(maxlen=MAX_LOGGED_REQUESTS)
        self._lock = threading.Lock()

    def add(self, heard: LoggedRequest) -> None:
        """Add a request."""
        with self._lock:
            self._requests.append(heard)

    def clear(self) -> None:
        """Remove all requests."""
        with self._lock:
            self._requests.clear()

    def all(self) -> list[LoggedRequest]:
        """Return the logged requests."""
        with self._lock:
            return list(self._requests)

    def as_json(self) -> list[dict[str, object]]:
        """Return the logged requests as JSON objects."""
        return [asdict(heard) for heard in self.all()]


class SandboxState:
    """The world, clock, caches, limits, logins, faults and request log of one sandbox."""

    def __init__(
        self,
        *,
        seed: int,
        characters: int,
        clock: SandboxClock,
        enforce_limits: bool,
        grace_s: float,
        page_rows: int,
    ) -> None:
        self.clock = clock
        self.enforce_limits = enforce_limits
        self.page_rows = page_rows
        self.world = World(seed=seed, characters=characters)
        self.snapshots = Snapshots(clock)
        self.buckets = TokenBuckets(clock)
        self.error_limit = ErrorLimit(clock)
        self.outages = Outages(clock)
        self.grants = Grants(self.world, clock)
        self.refresh_load = RefreshLoad()
        self.signer = Signer(clock)
        self.faults = Faults(clock, seed)
        self.log = RequestLog()
        self.ledger = Ledger()
        self.conduct = Conduct(grace_s)
        self.script = Script(self)
