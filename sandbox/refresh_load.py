"""The refreshes under way at the token endpoint: the real one fails under more than five at once (sso-issues #58)."""

from __future__ import annotations

import threading
from dataclasses import dataclass

#: From this many on, the real SSO answers 500 or resets connections (ccpgames/sso-issues #58).
PARALLEL_LIMIT = 5


@dataclass(frozen=True)
class Load:
    """What was under way when a refresh arrived."""

    others: int
    same_character: bool


class RefreshLoad:
    """Counts refreshes from their arrival to their response; `limit` None never refuses."""

    def __init__(self) -> None:
        self.limit: int | None = None
        #: How long a refresh takes, in seconds of the sandbox; the real one takes some tenths.
        self.latency_s = 0.0
        self._under_way: list[int | None] = []
        self._lock = threading.Lock()

    def begin(self, character_id: int | None) -> Load:
        """Count a refresh; return what was under way before it."""
        with self._lock:
            load = Load(len(self._under_way), character_id is not None and character_id in self._under_way)
            self._under_way.append(character_id)
            return load

    def end(self, character_id: int | None) -> None:
        """Stop counting a refresh."""
        with self._lock:
            self._under_way.remove(character_id)

    def is_too_much(self, load: Load) -> bool:
        """Return whether SSO fails under this load."""
        return self.limit is not None and load.others >= self.limit
