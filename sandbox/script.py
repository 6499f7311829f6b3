"""A script: steps that happen at given times of the sandbox's clock.

A step acts at the first request after its time, as of its time, which no client can tell from acting on the second.
Only a change of `speed` begins with that request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from .fault_kinds import DEAD_LOGINS
from .faults import Fault

if TYPE_CHECKING:
    from .state import SandboxState
    from .world.characters import Character


#: Acts, given the time at which it was due.
Act = Callable[[float], None]


class BadStep(ValueError):
    """Raised for an invalid step; the message says what is allowed."""


@dataclass
class Step:
    """One step, as it was given, and when it acts."""

    given: dict[str, Any]
    due_s: float
    act: Act
    is_done: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the step with its time and whether it has begun."""
        return {**self.given, "due_ms": int(self.due_s * 1000), "done": self.is_done}


class Script:
    """The steps that were given, in the order of their times."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._steps: list[Step] = []
        self._lock = threading.Lock()

    def add(self, steps: object) -> None:
        """Add steps whose times count from now.

        Raises `BadStep`, before any of them is added.
        """
        if not isinstance(steps, list) or not all(isinstance(each, dict) for each in steps):
            raise BadStep(f"steps must be a list of objects with at_s and one of {', '.join(ACTIONS)}")
        read = [self._read(each) for each in steps]
        with self._lock:
            self._steps = sorted([*self._steps, *read], key=lambda step: step.due_s)
        self.run_due()

    def run_due(self) -> None:
        """Let every step act whose time has come."""
        now_s = self._state.clock.now()
        with self._lock:
            due = [step for step in self._steps if not step.is_done and step.due_s <= now_s]
            for step in due:
                step.is_done = True
        for step in due:
            step.act(step.due_s)

    def clear(self) -> None:
        """Remove all steps; what has begun goes on."""
        with self._lock:
            self._steps.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Return all steps."""
        with self._lock:
            return [step.as_json() for step in self._steps]

    def _read(self, given: dict[str, Any]) -> Step:
        at_s, names = given.get("at_s", 0), [name for name in ACTIONS if name in given]
        if not isinstance(at_s, (int, float)) or at_s < 0 or len(names) != 1:
            raise BadStep(f"a step has at_s (0 or more) and one of {', '.join(ACTIONS)}, got {given!r}")
        try:
            act = ACTIONS[names[0]](self._state, given)
        except (TypeError, ValueError) as error:
            raise BadStep(f"{names[0]}: {error}") from error
        return Step(given, self._state.clock.now() + at_s, act)


Action = Callable[["SandboxState", Mapping[str, Any]], Act]


def _fault(state: SandboxState, given: Mapping[str, Any]) -> Act:
    fault = Fault.from_json(given["fault"])
    if "for_s" in given:
        unlimited = given["fault"].get("times") is None
        fault = replace(fault, for_s=given["for_s"], times=None if unlimited else fault.times)
    return lambda due_s: state.faults.add(replace(fault), due_s)


def _downtime(state: SandboxState, given: Mapping[str, Any]) -> Act:
    service, lasts_s = given["downtime"], given.get("for_s")
    if service not in ("esi", "sso") or not isinstance(lasts_s, (int, float)):
        raise ValueError("downtime must be esi or sso, with for_s")
    return lambda due_s: state.outages.add(service, due_s, lasts_s)


def _kill(state: SandboxState, given: Mapping[str, Any]) -> Act:
    character, kind = _character(state, given["kill"]), given.get("kind", "dead-token")
    if kind not in DEAD_LOGINS:
        raise ValueError(f"kind must be one of {', '.join(DEAD_LOGINS)}, got {kind!r}")
    return lambda _: state.grants.kill(character, kind=kind)


def _sell(state: SandboxState, given: Mapping[str, Any]) -> Act:
    character, kills = _character(state, given["sell"]), bool(given.get("kills", True))
    return lambda _: state.grants.sell(character, kills=kills)


def _exhaust_errors(state: SandboxState, given: Mapping[str, Any]) -> Act:
    return state.error_limit.exhaust


def _speed(state: SandboxState, given: Mapping[str, Any]) -> Act:
    speed = float(given["speed"])
    return lambda _: state.clock.set_speed(speed)


def _character(state: SandboxState, character_id: object) -> Character:
    character = state.world.character(character_id) if isinstance(character_id, int) else None
    if character is None:
        raise ValueError(f"no character {character_id!r}")
    return character


ACTIONS: Final[Mapping[str, Action]] = {
    "fault": _fault,
    "downtime": _downtime,
    "kill": _kill,
    "sell": _sell,
    "exhaust_errors": _exhaust_errors,
    "speed": _speed,
}
