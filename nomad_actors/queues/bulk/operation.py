"""A bulk operation: its action, the jobs that it selects, and its progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from ...broker.states import Action, allowed_names
from ...errors import BadInput
from ...response_model import ResponseModel
from ..job import JobOutcome, JobState
from ..search import JobFilter

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


class BulkFilter(ResponseModel):
    """The jobs that a bulk operation selects."""

    status: list[JobState]
    outcome: list[JobOutcome]
    job_type: str | None
    fields: dict[str, str]
    fingerprint: str | None
    since: int | None
    until: int | None

    @classmethod
    def of(cls, job_filter: JobFilter) -> BulkFilter:
        return cls.of_attributes(
            job_filter,
            status=list(job_filter.states),
            outcome=list(job_filter.outcomes),
            fields=dict(job_filter.fields),
            since=job_filter.since_ms,
            until=job_filter.until_ms,
        )


class BulkOperation(ResponseModel):
    """A bulk operation and its progress."""

    id: str
    queue_name: str
    action: Literal["retry", "remove", "promote", "cancel"]
    state: Literal["running", "stopped", "finished"]
    total: int = Field(description="how many jobs it selected, as far as that was known when it began")
    done: int
    skipped: int = Field(description="jobs that were skipped because their state had changed")
    per_second: int
    filter: BulkFilter
    by: str
    reason: str
    created_at: int = Field(description="ms since the epoch")
    updated_at: int = Field(description="ms since the epoch")
    error: str | None = Field(description="the error that stopped it")


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
        request = self.request
        return BulkOperation.of_attributes(
            self,
            queue_name=self.queue,
            action=request.action,
            per_second=request.per_second,
            filter=BulkFilter.of(request.job_filter),
            by=request.by,
            reason=request.reason,
            created_at=self.created_ms,
            updated_at=self.updated_ms,
            error=self.error or None,
        )

    def stored(self) -> dict[str, Any]:
        """Return the form that Redis stores."""
        stored: dict[str, Any] = _STORED.dump_python(self, mode="json")
        return stored

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Operation:
        """Return the operation that a record stores; fields that only a newer release knows are ignored.

        Raises `ValueError` if the record is invalid.
        """
        return _STORED.validate_python(record)


_STORED = TypeAdapter(Operation)
