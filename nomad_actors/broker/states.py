"""The states of a job and the transitions between them, as data.

A job is in exactly one state because its id is in exactly one index of its queue (see `keys`); the record does not
repeat the state. The API, the CLI, search and bulk operations read from this table what they allow, and a test runs the
script of every row with a job in every state. To add a state, add a member of `State`, its index in `keys`, its rows.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .endings import Outcome


class State(enum.StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELAYED = "delayed"
    COMPLETED = "completed"
    FAILED = "failed"


#: The state under which the waiting jobs of a paused queue are listed and counted.
PAUSED = "paused"

#: Every state name that a caller may use.
STATE_NAMES: tuple[str, ...] = (*State, PAUSED)

FINISHED = (State.COMPLETED, State.FAILED)
#: The states of a job that will start.
PENDING = (State.WAITING, State.DELAYED)


class Action(enum.StrEnum):
    """What an operator can do to jobs."""

    RETRY = "retry"
    REMOVE = "remove"
    PROMOTE = "promote"
    CANCEL = "cancel"
    CLEAN = "clean"


class Transition(NamedTuple):
    """One possible change of a job's state; None stands for "no such job"."""

    name: str
    #: The states in which it is possible; a job in another state stays as it is.
    sources: tuple[State | None, ...]
    target: State | None
    #: The file in `scripts/` that does it.
    script: str
    #: The operator's action that requests it, if any.
    action: Action | None = None
    #: The outcomes of the run that ends, if one does.
    outcomes: tuple[Outcome, ...] = ()


_ADDABLE = (None, *FINISHED)
_ACTIVE = (State.ACTIVE,)

TRANSITIONS: tuple[Transition, ...] = (
    # A caller or a schedule adds a job.
    Transition("enqueue", _ADDABLE, State.WAITING, "enqueue"),
    Transition("enqueue delayed", _ADDABLE, State.DELAYED, "enqueue"),
    Transition("enqueue behind a run", _ACTIVE, State.ACTIVE, "enqueue"),
    Transition("enqueue in bulk", _ADDABLE, State.WAITING, "add_bulk_part"),
    Transition("claim a slot", (None,), State.WAITING, "claim_slots"),
    # A worker runs it.
    Transition("promote when due", (State.DELAYED,), State.WAITING, "start"),
    Transition("start", (State.WAITING,), State.ACTIVE, "start"),
    Transition("complete", _ACTIVE, State.COMPLETED, "settle", outcomes=(Outcome.COMPLETED, Outcome.SKIPPED)),
    Transition("fail", _ACTIVE, State.FAILED, "settle", outcomes=(Outcome.FAILED,)),
    Transition("end as cancelled", _ACTIVE, State.FAILED, "settle", outcomes=(Outcome.CANCELLED,)),
    Transition("try again", _ACTIVE, State.DELAYED, "settle", outcomes=(Outcome.RETRIED,)),
    Transition("defer", _ACTIVE, State.DELAYED, "settle", outcomes=(Outcome.DEFERRED,)),
    Transition("release", _ACTIVE, State.WAITING, "settle", outcomes=(Outcome.RELEASED,)),
    Transition("begin what was enqueued behind a run", _ACTIVE, State.WAITING, "settle"),
    # Its worker is lost.
    Transition("recover", _ACTIVE, State.WAITING, "heartbeat", outcomes=(Outcome.RECOVERED,)),
    Transition("lose too many workers", _ACTIVE, State.FAILED, "heartbeat"),
    # An operator acts.
    Transition("retry", (State.FAILED, State.COMPLETED), State.WAITING, "retry", Action.RETRY),
    Transition("promote", (State.DELAYED,), State.WAITING, "promote", Action.PROMOTE),
    Transition("cancel", PENDING, State.FAILED, "cancel", Action.CANCEL),
    Transition("ask a run to end", _ACTIVE, State.ACTIVE, "cancel", Action.CANCEL),
    Transition("remove", (*PENDING, *FINISHED), None, "remove", Action.REMOVE),
    Transition("clean", (*FINISHED, State.DELAYED, State.WAITING), None, "clean", Action.CLEAN),
    Transition("flush", tuple(State), None, "flush"),
    # Retention.
    Transition("trim by count", FINISHED, None, "settle"),
    Transition("trim by age", FINISHED, None, "heartbeat"),
)

#: Each outcome of a finished job, and the state of a job with it.
OUTCOMES: Mapping[str, State] = MappingProxyType(
    {
        outcome.value: state
        for state in FINISHED
        for row in TRANSITIONS
        if row.target is state
        for outcome in row.outcomes
    }
)


def allowed(action: Action | str) -> tuple[State, ...]:
    """Return the states in which an operator's action is allowed."""
    return tuple(state for row in TRANSITIONS if row.action == action for state in row.sources if state is not None)


def allowed_names(action: Action | str) -> tuple[str, ...]:
    """Return `allowed` as callers name the states: a waiting job of a paused queue is `paused`."""
    return tuple(name for state in allowed(action) for name in names_of(state))


def names_of(state: State) -> tuple[str, ...]:
    """Return the names that callers use for a state."""
    return (state.value, PAUSED) if state is State.WAITING else (state.value,)


def state_named(name: str) -> State:
    """Return the state that a caller names. Raises `ValueError` for an unknown name."""
    return State.WAITING if name == PAUSED else State(name)


def in_words(names: Iterable[str]) -> str:
    """Return names as in a sentence: "waiting, delayed or active"."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
