"""The ledger of SSO: what it was asked, by whom, and every secret that it has issued or been sent."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from .exchange import Exchange

MAX_ENTRIES = 50_000


@dataclass(frozen=True)
class LedgerEntry:
    """A request to SSO that carries secrets: a refresh, a login's redirect with its code, or the exchange of a code."""

    at_ms: int
    #: The host's monotonic time at which it arrived, and at which its response was ready to be sent.
    arrived_mono: float
    finished_mono: float
    user_agent: str
    status: int
    character_id: int | None
    #: The name of the fault that it met, empty without one.
    fault: str
    #: How many other refreshes were under way when it arrived, None if it is no refresh.
    others: int | None
    #: Whether the new refresh token was in the response.
    is_delivered: bool
    refresh_token: str = field(default="", repr=False)
    code: str = field(default="", repr=False)
    code_verifier: str = field(default="", repr=False)
    #: What was issued, also if a fault kept the response.
    new_refresh_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    @classmethod
    def of(cls, exchange: Exchange) -> LedgerEntry:
        """Return the entry of a finished exchange."""
        return cls(
            at_ms=int(exchange.finished_s * 1000),
            arrived_mono=exchange.arrived_mono,
            finished_mono=exchange.finished_mono,
            user_agent=exchange.headers.get("user-agent", ""),
            status=exchange.status,
            character_id=exchange.character_id,
            fault=(exchange.fault.kind or "unnamed") if exchange.fault else "",
            others=exchange.load.others if exchange.load else None,
            is_delivered=exchange.is_delivered,
            refresh_token=exchange.refresh_token,
            code=exchange.code,
            code_verifier=exchange.code_verifier,
            new_refresh_token=exchange.new_refresh_token or "",
            access_token=exchange.access_token or "",
        )

    @property
    def secrets(self) -> Iterator[str]:
        """The secrets that it carried."""
        found = (self.refresh_token, self.code, self.code_verifier, self.new_refresh_token, self.access_token)
        return (each for each in found if each)


class Ledger:
    """The last requests with secrets, oldest first; thread-safe."""

    def __init__(self) -> None:
        self._entries: deque[LedgerEntry] = deque(maxlen=MAX_ENTRIES)
        self._lock = threading.Lock()

    def add(self, exchange: Exchange) -> None:
        """Add a finished exchange if it carried a secret."""
        entry = LedgerEntry.of(exchange)
        if any(entry.secrets):
            with self._lock:
                self._entries.append(entry)

    def all(self) -> list[LedgerEntry]:
        """Return the entries, oldest first."""
        with self._lock:
            return list(self._entries)

    def last(self) -> LedgerEntry | None:
        """Return the newest entry."""
        with self._lock:
            return self._entries[-1] if self._entries else None
