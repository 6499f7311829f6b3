"""A bulk operation: its action, the jobs that it selects, and its progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ...broker.states import Action, allowed_names
from ...errors import BadInput
from ..search import JobFilter
from .models import BulkFilter, BulkOperation

DEFAULT_PER_SECOND = 200
MAX_PER_SECOND = 5_000

#: For each action, the states whose jobs it takes. The first one of `retry` is its default.
ACTIONS: Mapping[str, Sequence[str]] = MappingProxyType(
    {action.value: allowed_names(action) for action in Action if action is not Action.CLEAN}
)


@dataclass(frozen=True, kw_only=True)
class BulkRequest:
    """An action on the jobs of a queue that match a filter, at most so many per second."""

    action: str
    job_filter: JobFilter
    per_second: int = DEFAULT_PER_SECOND
    by: str = ""
    reason: str = ""

    def checked(self) -> BulkRequest:
        """Return the request with its states filled in.

        Raises `BadInput` if the action, a state or the rate is invalid, or if nothing selects the jobs.
        """
        if self.action not in ACTIONS:
            raise BadInput(
                f"action {self.action[:80]!r} is invalid (allowed: {', '.join(ACTIONS)})", accepted=list(ACTIONS)
            )
        if not 1 <= self.per_second <= MAX_PER_SECOND:
            raise BadInput(f"perSecond {self.per_second} is invalid (allowed: 1 to {MAX_PER_SECOND})")
        possible = ACTIONS[self.action]
        states = self.job_filter.states or self._default_states()
        for state in states:
            if state not in possible:
                allowed = ", ".join(possible)
                raise BadInput(
                    f"{self.action} does not take jobs that are {state!r:.40} (allowed: {allowed})", accepted=possible
                )
        return replace(self, job_filter=replace(self.job_filter, states=tuple(states)))

    def _default_states(self) -> Sequence[str]:
        possible = ACTIONS[self.action]
        if self.action in (Action.RETRY, Action.PROMOTE):
            return possible[:1]
        if self.job_filter.fields or self.job_filter.fingerprint or self.job_filter.outcomes:
            return possible
        raise BadInput(
            f"nothing selects the jobs to {self.action}: name a status, an outcome, a field or a fingerprint "
            f"(accepted statuses: {', '.join(possible)})"
        )


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A bulk operation and its progress; times in ms since the epoch."""

    id: str
    queue: str
    request: BulkRequest
    #: running, stopped (by an operator or an error; it can be resumed) or finished.
    state: str
    #: The number of jobs when it began, as far as it was known; how many were acted on since, and how many skipped.
    total: int
    done: int = 0
    skipped: int = 0
    #: The page of jobs that comes next.
    cursor: str | None = None
    created_ms: int = 0
    updated_ms: int = 0
    #: The runner that runs it, and until when no other runner may take it.
    owner: str = ""
    owned_until_ms: int = 0
    #: The error that stopped it.
    error: str = ""
    revision: int = 0

    def shown(self) -> BulkOperation:
        """Return the form that the API and the `nomad` command show."""
        job_filter = self.request.job_filter
        return BulkOperation.model_construct(
            id=self.id,
            queue_name=self.queue,
            action=self.request.action,
            state=self.state,
            total=self.total,
            done=self.done,
            skipped=self.skipped,
            per_second=self.request.per_second,
            filter=BulkFilter.model_construct(
                status=list(job_filter.states),
                outcome=list(job_filter.outcomes),
                job_type=job_filter.job_type,
                fields=dict(job_filter.fields),
                fingerprint=job_filter.fingerprint,
                since=job_filter.since_ms,
                until=job_filter.until_ms,
            ),
            by=self.request.by,
            reason=self.request.reason,
            created_at=self.created_ms,
            updated_at=self.updated_ms,
            error=self.error or None,
        )

    def stored(self) -> dict[str, Any]:
        """Return the form that Redis stores."""
        job_filter = self.request.job_filter
        stored_filter = {name: getattr(job_filter, name) for name in JobFilter.__dataclass_fields__}
        stored_request = {
            "action": self.request.action,
            "per_second": self.request.per_second,
            "by": self.request.by,
            "reason": self.request.reason,
            "sought": {**stored_filter, "fields": dict(job_filter.fields)},
        }
        progress = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "request"}
        return {**progress, "wish": stored_request}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Operation:
        """Return the operation that a record stores; fields that only a newer release knows are ignored.

        Raises `ValueError`, `TypeError` or `KeyError` if the record is invalid.
        """
        stored_request = dict(record["wish"])
        stored_filter = _known(JobFilter, stored_request.pop("sought"))
        stored_filter["states"] = tuple(stored_filter["states"])
        request = BulkRequest(**_known(BulkRequest, stored_request), job_filter=JobFilter(**stored_filter))
        return cls(**{**_known(cls, record), "request": request})


def _known(kind: type[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in kind.__dataclass_fields__ if name in record}
