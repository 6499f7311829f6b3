"""What an application declares of a queue."""

from __future__ import annotations

from dataclasses import dataclass

from ..retention import Retention


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How many jobs run at a time in a process (None uses every thread) and over all hosts, and which are kept."""

    concurrency: int | None = None
    limit: int | None = None
    retention: Retention | None = None

    def changed_by(self, other: QueueOptions) -> QueueOptions:
        """Return these options with what `other` declares in place of them."""
        return QueueOptions(
            other.concurrency or self.concurrency, other.limit or self.limit, other.retention or self.retention
        )
