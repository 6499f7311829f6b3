"""One job as it stands in Redis, and the story that its record tells."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dramatiq import Message

from ..constants import MAX_CRASHES
from ..states import State
from . import record
from .notes import Notes
from .record import DUE, EventKind, Flag, Record


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job as it stands in Redis."""

    job_id: str
    state: State
    record: Record | None
    #: Since when it runs, while it is active.
    running_since_ms: float | None
    #: None when the body cannot be read; `unreadable` says why.
    message: Message[Any] | None
    unreadable: str | None
    #: What it said of itself.
    notes: Notes = field(default_factory=Notes)
    #: Why a running job shall be cancelled, once an operator has asked for it.
    cancel_reason: str | None = None
    #: Of the worker process that holds it, while it is active.
    worker_id: bytes | None = None

    @property
    def is_poison(self) -> bool:
        """Whether it failed because worker after worker was lost with it."""
        return self.state is State.FAILED and self.record is not None and self.record.header.crashes >= MAX_CRASHES

    @property
    def size(self) -> int:
        """How many bytes its body and its story have."""
        return len(self.record.body) + len(self.record.story) if self.record else 0

    def timeline(self, worker: str | None = None) -> list[dict[str, object]]:
        """Return the story as the API tells it, oldest first; `worker` is the name of the one that runs it."""
        if self.record is None:
            return []
        told: list[dict[str, object]] = [{"event": "enqueued", "at": int(self.record.header.created_ms)}]
        told += [_tell(event) for event in self.record.events()]
        if self.running_since_ms is not None:
            by = {} if worker is None else {"worker": worker}
            told.append({"event": "started", "at": int(self.running_since_ms), **by})
        if self.cancel_reason is not None:
            told.append({"event": "cancel asked", "reason": self.cancel_reason})
        return told

    def last(self, kind: EventKind) -> bytes | None:
        """Return what the story last said of `kind`."""
        found = [e.data for e in self.record.events() if e.kind is kind] if self.record else []
        return found[-1] if found else None

    def entered_ms(self) -> float:
        """Return since when it is in its state, ms by Redis' time; by its producer's while it waits to be due."""
        if self.state is State.ACTIVE:
            return self.running_since_ms or 0.0
        if self.record is None:
            return 0.0
        header = self.record.header
        if self.state is State.WAITING:
            return header.ready_ms
        if self.state is State.DELAYED:
            put_off = (event.at_ms for event in self.record.events() if event.kind in _PUT_OFF)
            return max(put_off, default=header.created_ms)
        return header.finished_ms

    def unknown_since_ms(self) -> float | None:
        """Return since when no worker that took it has known its actor; None unless it is put off for that."""
        if self.state is not State.DELAYED or self.message is None or self.record is None:
            return None
        kinds = [event.kind for event in self.record.events()]
        since = self.message.options.get(record.UNKNOWN_SINCE)
        if not kinds or kinds[-1] is not EventKind.DEFERRED or not isinstance(since, (int, float)):
            return None
        return record.instant(float(since))

    def last_error(self) -> tuple[str, str] | None:
        """Return the class and words of the last run's error."""
        said = self.last(EventKind.ERROR)
        if said is None:
            return None
        error = error_of(said)
        return error["class"], error["message"]

    def reason(self) -> str | None:
        """Return why the job failed or was cancelled."""
        said = self.last(EventKind.CANCELLED if self.cancelled else EventKind.FAILED)
        return said.decode(errors="replace") if said is not None else None

    @property
    def skipped(self) -> bool:
        """Whether the job ended by skipping itself."""
        return bool(self.record and self.record.header.flags & Flag.SKIPPED)

    @property
    def cancelled(self) -> bool:
        """Whether an operator cancelled it."""
        return bool(self.record and self.record.header.flags & Flag.CANCELLED)


#: What puts a job into `delayed`, or adds it anew.
_PUT_OFF = (EventKind.ENQUEUED, EventKind.RETRY, EventKind.DEFERRED)
_WHY_RECOVERED = {
    b"gone": "its worker was not heard of any more",
    b"unheard": "its worker never learned that it had it",
}


def error_of(data: bytes) -> dict[str, str]:
    """Return an error as the story has it: class, message and traceback."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    told = said if isinstance(said, dict) else {"message": "what is kept of the error cannot be read"}
    return {name: str(told.get(name, "")) for name in ("class", "message", "traceback")}


def _due(data: bytes) -> int:
    return int(record.instant(DUE.unpack_from(data.ljust(DUE.size, b"\0"))[0]))


def _tell(event: record.Event) -> dict[str, object]:
    told: dict[str, object] = {"event": event.kind.name.lower(), "at": int(event.at_ms)}
    if event.kind is EventKind.STARTED:
        told["worker"] = event.data.decode(errors="replace")
    elif event.kind is EventKind.ERROR:
        told.update(error_of(event.data))
    elif event.kind is EventKind.RETRY:
        told["due"] = _due(event.data)
    elif event.kind is EventKind.DEFERRED:
        told["due"] = _due(event.data)
        told["reason"] = event.data[DUE.size :].decode(errors="replace")
    elif event.kind in (EventKind.FAILED, EventKind.CANCELLED):
        told["reason"] = event.data.decode(errors="replace")
    elif event.kind is EventKind.RECOVERED:
        told["reason"] = _WHY_RECOVERED.get(event.data[record.TOKEN.size :], "its worker is gone")
    elif event.kind is EventKind.CUT:
        told["eventsLeftOut"] = int(event.data) if event.data.isdigit() else 0
    return told
