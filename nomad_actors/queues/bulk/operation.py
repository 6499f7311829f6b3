"""What a bulk operation is: an action, which jobs it is meant for, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ...broker.states import Action, allowed_names
from ...errors import BadInput
from ..search import JobFilter
from .models import BulkOperation, Meant

DEFAULT_PER_SECOND = 200
MAX_PER_SECOND = 5_000

#: By action: the states of jobs that it can be done to. The first of `retry`'s is meant when none is named.
ACTIONS: Mapping[str, Sequence[str]] = MappingProxyType(
    {action.value: allowed_names(action) for action in Action if action is not Action.CLEAN}
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What an operator wants done to which jobs of a queue, and how many a second at most."""

    action: str
    sought: JobFilter
    per_second: int = DEFAULT_PER_SECOND
    by: str = ""
    reason: str = ""

    def checked(self) -> Wish:
        """Return the wish with its states filled in.

        Raises `BadInput` for an action, a state or a rate that is none, and for one that would be meant for everything.
        """
        if self.action not in ACTIONS:
            accepted = list(ACTIONS)
            raise BadInput(
                f"action {self.action[:80]!r} is unusable (accepted: {', '.join(accepted)})", accepted=accepted
            )
        if not 1 <= self.per_second <= MAX_PER_SECOND:
            raise BadInput(f"perSecond {self.per_second} is unusable (accepted: 1 to {MAX_PER_SECOND})")
        possible = ACTIONS[self.action]
        states = self.sought.states or self._meant()
        for state in states:
            if state not in possible:
                words = ", ".join(possible)
                said = f"a job that is {state!r:.40} does not {self.action} (accepted: {words})"
                raise BadInput(said, accepted=possible)
        return replace(self, sought=replace(self.sought, states=tuple(states)))

    def _meant(self) -> Sequence[str]:
        possible = ACTIONS[self.action]
        if self.action in (Action.RETRY, Action.PROMOTE):
            return possible[:1]
        if self.sought.fields or self.sought.fingerprint or self.sought.outcomes:
            return possible
        words = ", ".join(possible)
        raise BadInput(
            f"say which jobs to {self.action}: a status, an outcome, a field or a fingerprint (statuses: {words})"
        )


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A bulk operation as it is kept; times in ms since the epoch."""

    id: str
    queue: str
    wish: Wish
    #: running, stopped (by an operator; it can go on) or finished.
    state: str
    #: How many jobs it is for, as far as that was known when it began; and what became of those that were come to.
    total: int
    done: int = 0
    skipped: int = 0
    #: Where it goes on.
    cursor: str | None = None
    created_ms: int = 0
    updated_ms: int = 0
    #: Who runs it, and until when nobody else does.
    owner: str = ""
    owned_until_ms: int = 0
    #: Why it stopped by itself.
    error: str = ""
    revision: int = 0

    def shown(self) -> BulkOperation:
        """Return the form that the API and the `nomad` command show."""
        sought = self.wish.sought
        return BulkOperation.model_construct(
            id=self.id,
            queue_name=self.queue,
            action=self.wish.action,
            state=self.state,
            total=self.total,
            done=self.done,
            skipped=self.skipped,
            per_second=self.wish.per_second,
            filter=Meant.model_construct(
                status=list(sought.states),
                outcome=list(sought.outcomes),
                job_type=sought.job_type,
                fields=dict(sought.fields),
                fingerprint=sought.fingerprint,
                since=sought.since_ms,
                until=sought.until_ms,
            ),
            by=self.wish.by,
            reason=self.wish.reason,
            created_at=self.created_ms,
            updated_at=self.updated_ms,
            error=self.error or None,
        )

    def stored(self) -> dict[str, Any]:
        """Return the form that is kept."""
        wish = {name: getattr(self.wish, name) for name in Wish.__dataclass_fields__}
        sought = {name: getattr(self.wish.sought, name) for name in JobFilter.__dataclass_fields__}
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**kept, "wish": {**wish, "sought": {**sought, "fields": dict(self.wish.sought.fields)}}}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Operation:
        """Return the operation that a record tells of; what a newer release wrote beside it is passed over.

        Raises `ValueError`, `TypeError` or `KeyError` for a record that tells of none.
        """
        wish = dict(told["wish"])
        sought = _known(JobFilter, wish.pop("sought"))
        sought["states"] = tuple(sought["states"])
        return cls(**{**_known(cls, told), "wish": Wish(**_known(Wish, wish), sought=JobFilter(**sought))})


def _known(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in kind.__dataclass_fields__ if name in told}
