"""The record itself: the violations in detail up to a number, their counts without one."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from ..exchange import Exchange
from .reasons import REASONS

MAX_VIOLATIONS = 10_000


@dataclass(frozen=True)
class Violation:
    """One request that broke one rule."""

    at_ms: int
    reason: str
    detail: str
    method: str
    path: str
    query: dict[str, str]
    status: int
    character_id: int | None

    @classmethod
    def of(cls, exchange: Exchange, reason: str, detail: str) -> Violation:
        """Return what a finished exchange did wrong."""
        return cls(
            at_ms=int(exchange.at_s * 1000),
            reason=reason,
            detail=detail,
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            status=exchange.status,
            character_id=exchange.character_id,
        )


class Record:
    """The violations since the last `clear`."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._counts: Counter[str] = Counter()

    def add(self, violation: Violation) -> None:
        """Add a violation; the details of those after `MAX_VIOLATIONS` are not kept."""
        self._counts[violation.reason] += 1
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(violation)

    def clear(self) -> None:
        """Forget all violations."""
        self.violations.clear()
        self._counts.clear()

    def as_json(self) -> dict[str, object]:
        """Return the total, each reason's count with its rule, and the violations, oldest first."""
        total = sum(self._counts.values())
        return {
            "total": total,
            "left_out": total - len(self.violations),
            "reasons": [
                {"reason": name, "count": count, "rule": REASONS[name].rule, "source": REASONS[name].source}
                for name, count in self._counts.most_common()
            ],
            "violations": [asdict(each) for each in self.violations],
        }
