"""The options that an application declares for a queue."""

from __future__ import annotations

from dataclasses import dataclass

from ..retention import Retention


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How many jobs run at a time per process (None: one per thread) and over all hosts, and the retention."""

    concurrency: int | None = None
    limit: int | None = None
    retention: Retention | None = None

    def changed_by(self, other: QueueOptions) -> QueueOptions:
        """Return these options, replaced by those that `other` declares."""
        return QueueOptions(
            other.concurrency or self.concurrency, other.limit or self.limit, other.retention or self.retention
        )
