"""The states of a job and the transitions between them, as data.

A job is in exactly one state because it stands in exactly one index of its queue (see `keys`); the record itself does
not repeat it. The tests drive the scripts against this table.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class State(enum.StrEnum):
    """Where a job is."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELAYED = "delayed"
    COMPLETED = "completed"
    FAILED = "failed"


#: The name under which a paused queue's waiting jobs are listed and counted.
PAUSED = "paused"

#: Every word that a caller may use for a state.
STATE_NAMES: tuple[str, ...] = (*State, PAUSED)


class Transition(NamedTuple):
    """One way a job's state may change; `script` is the file in `scripts/` that does it."""

    name: str
    sources: frozenset[State | None]
    target: State | None
    script: str


def _row(name: str, sources: tuple[State | None, ...], target: State | None, script: str) -> Transition:
    return Transition(name, frozenset(sources), target, script)


_FINISHED = (State.COMPLETED, State.FAILED)

#: None stands for "no such job".
TRANSITIONS: tuple[Transition, ...] = (
    _row("enqueue", (None, *_FINISHED), State.WAITING, "enqueue"),
    _row("enqueue later", (None, *_FINISHED), State.DELAYED, "enqueue"),
    _row("promote when due", (State.DELAYED,), State.WAITING, "start"),
    _row("promote now", (State.DELAYED,), State.WAITING, "promote"),
    _row("start", (State.WAITING,), State.ACTIVE, "start"),
    _row("complete", (State.ACTIVE,), State.COMPLETED, "settle"),
    _row("retry", (State.ACTIVE,), State.DELAYED, "settle"),
    _row("defer", (State.ACTIVE,), State.DELAYED, "settle"),
    _row("fail", (State.ACTIVE,), State.FAILED, "settle"),
    _row("recover", (State.ACTIVE,), State.WAITING, "heartbeat"),
    _row("lost too often", (State.ACTIVE,), State.FAILED, "heartbeat"),
    _row("cancel", (State.WAITING, State.DELAYED), State.FAILED, "cancel"),
    _row("cancelled while running", (State.ACTIVE,), State.FAILED, "settle"),
    _row("release", (State.ACTIVE,), State.WAITING, "settle"),
    _row("run once more", (State.ACTIVE,), State.WAITING, "settle"),
    _row("again", _FINISHED, State.WAITING, "retry"),
    _row("remove", (State.WAITING, State.DELAYED, *_FINISHED), None, "remove"),
    _row("trim", _FINISHED, None, "settle"),
    _row("clean", (State.WAITING, State.DELAYED, *_FINISHED), None, "clean"),
)
