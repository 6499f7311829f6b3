"""A job as read from Redis, and the timeline of its record."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dramatiq import Message

from ..constants import MAX_CRASHES
from ..states import State
from . import DUE, TOKEN, UNKNOWN_SINCE, Event, EventKind, Flag, Record, instant
from .notes import Notes


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as read from Redis."""

    job_id: str
    state: State
    record: Record | None
    #: When its current run began, while it is active.
    running_since_ms: float | None
    #: None if the body cannot be read; `unreadable` says why.
    message: Message[Any] | None
    unreadable: str | None
    #: The progress and log lines that it reported.
    notes: Notes = field(default_factory=Notes)
    #: The reason of a requested cancel, while the job is still active.
    cancel_reason: str | None = None
    #: The worker process that runs it, while it is active.
    worker_id: bytes | None = None

    @property
    def is_poison(self) -> bool:
        """True if it failed because it lost one worker after another."""
        return self.state is State.FAILED and self.record is not None and self.record.header.crashes >= MAX_CRASHES

    @property
    def size(self) -> int:
        """The size of its body and its story in bytes."""
        return len(self.record.body) + len(self.record.story) if self.record else 0

    def timeline(self, worker: str | None = None) -> list[dict[str, object]]:
        """Return the job's events in the API's form, oldest first; `worker` is the name of the one that runs it."""
        if self.record is None:
            return []
        events: list[dict[str, object]] = [{"event": "enqueued", "at": int(self.record.header.created_ms)}]
        events += [_as_json(event) for event in self.record.events()]
        if self.running_since_ms is not None:
            by = {} if worker is None else {"worker": worker}
            events.append({"event": "started", "at": int(self.running_since_ms), **by})
        if self.cancel_reason is not None:
            events.append({"event": "cancel asked", "reason": self.cancel_reason})
        return events

    def last(self, kind: EventKind) -> bytes | None:
        """Return the data of the last event of `kind`; None if there is none."""
        found = [e.data for e in self.record.events() if e.kind is kind] if self.record else []
        return found[-1] if found else None

    def entered_ms(self) -> float:
        """Return when it entered its state (ms by Redis' clock; by its producer's clock if it was added as delayed)."""
        if self.state is State.ACTIVE:
            return self.running_since_ms or 0.0
        if self.record is None:
            return 0.0
        header = self.record.header
        if self.state is State.WAITING:
            return header.ready_ms
        if self.state is State.DELAYED:
            times_ms = (event.at_ms for event in self.record.events() if event.kind in _DELAYING)
            return max(times_ms, default=header.created_ms)
        return header.finished_ms

    def unknown_since_ms(self) -> float | None:
        """Return since when no worker that took it has known its actor; None unless it is deferred for that reason."""
        if self.state is not State.DELAYED or self.message is None or self.record is None:
            return None
        kinds = [event.kind for event in self.record.events()]
        since = self.message.options.get(UNKNOWN_SINCE)
        if not kinds or kinds[-1] is not EventKind.DEFERRED or not isinstance(since, (int, float)):
            return None
        return instant(float(since))

    def last_error(self) -> tuple[str, str] | None:
        """Return the class and message of the last run's error."""
        data = self.last(EventKind.ERROR)
        if data is None:
            return None
        error = unpack_error(data)
        return error["class"], error["message"]

    def reason(self) -> str | None:
        """Return why the job failed or was cancelled."""
        data = self.last(EventKind.CANCELLED if self.cancelled else EventKind.FAILED)
        return data.decode(errors="replace") if data is not None else None

    @property
    def skipped(self) -> bool:
        return bool(self.record and self.record.header.flags & Flag.SKIPPED)

    @property
    def cancelled(self) -> bool:
        return bool(self.record and self.record.header.flags & Flag.CANCELLED)


#: The events that put a job into `delayed`.
_DELAYING = (EventKind.ENQUEUED, EventKind.RETRY, EventKind.DEFERRED)
_WHY_RECOVERED = {
    b"gone": "its worker sent no more heartbeats",
    b"unheard": "its worker never received it",
}


def unpack_error(data: bytes) -> dict[str, str]:
    """Return a stored error: class, message and traceback."""
    try:
        decoded = json.loads(data)
    except (ValueError, RecursionError):
        decoded = None
    fields = decoded if isinstance(decoded, dict) else {"message": "the stored error cannot be read"}
    return {name: str(fields.get(name, "")) for name in ("class", "message", "traceback")}


def _due(data: bytes) -> int:
    return int(instant(DUE.unpack_from(data.ljust(DUE.size, b"\0"))[0]))


def _as_json(event: Event) -> dict[str, object]:
    fields: dict[str, object] = {"event": event.kind.name.lower(), "at": int(event.at_ms)}
    if event.kind is EventKind.STARTED:
        fields["worker"] = event.data.decode(errors="replace")
    elif event.kind is EventKind.ERROR:
        fields.update(unpack_error(event.data))
    elif event.kind is EventKind.RETRY:
        fields["due"] = _due(event.data)
    elif event.kind is EventKind.DEFERRED:
        fields["due"] = _due(event.data)
        fields["reason"] = event.data[DUE.size :].decode(errors="replace")
    elif event.kind in (EventKind.FAILED, EventKind.CANCELLED):
        fields["reason"] = event.data.decode(errors="replace")
    elif event.kind is EventKind.RECOVERED:
        fields["reason"] = _WHY_RECOVERED.get(event.data[TOKEN.size :], "its worker was lost")
    elif event.kind is EventKind.CUT:
        fields["eventsLeftOut"] = int(event.data) if event.data.isdigit() else 0
    return fields
