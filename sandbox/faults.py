"""Faults on request: make chosen responses of a path fail, arrive late, arrive damaged, or not arrive at all."""

from __future__ import annotations

import fnmatch
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from .clock import SandboxClock
from .fault_kinds import ALTERATIONS, KINDS, TOKENS
from .world.draws import draw

ERROR_TEXTS = {
    420: "Error limited",
    429: "Rate limit exceeded",
    500: "Unhandled internal error encountered!",
    502: "Bad Gateway",
    503: "The datasource tranquility is temporarily unavailable",
    504: "Timeout contacting tranquility",
}
NUMBER = (int, float)
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("path",), str),
    **dict.fromkeys(("skip", "delay_ms"), int),
    **dict.fromkeys(("query", "headers"), dict),
    **dict.fromkeys(("at_s", "hang_s"), NUMBER),
    **dict.fromkeys(("after", "drop", "renew", "bare"), bool),
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("times", "every", "character_id"), int),
    **dict.fromkeys(("share", "for_s"), NUMBER),
    **dict.fromkeys(("method",), str),
}


class BadFault(ValueError):
    """Raised for an invalid fault; the message says what is allowed."""


@dataclass
class Fault:
    """One fault: which requests it is for, and what happens to them.

    Requests: `path` is a shell pattern for the path in normal form; `query` must be a subset of the request's; `method`
    and `character_id` must be equal. The fault begins `at_s` seconds of sandbox time after it was added and ends after
    `for_s`. The first `skip` matching requests pass; of the others every `every`-th fails, or a random `share`, until
    `times` have failed (1, but no limit with `share` or `for_s`).

    Effects: `kind` is a name of `fault_kinds.KINDS`, whose fields it stands for. `status` responds instead of the
    route, with `body` (an object is sent as JSON, a text as HTML if it begins with "<") and `headers`. With `after` the
    route runs first and only its response is lost. `drop` cuts the connection. `delay_ms` waits first, in the host's
    time, `hang_s` in the sandbox's. `renew` takes a new snapshot, as if the old one had expired between two pages.
    `alter` damages the route's response, `token` the access token in it; `bare` leaves out the limiters' headers.
    """

    path: str
    status: int | None = None
    times: int | None = None
    skip: int = 0
    every: int | None = None
    share: float | None = None
    at_s: float = 0
    for_s: float | None = None
    method: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    character_id: int | None = None
    kind: str | None = None
    delay_ms: int = 0
    hang_s: float = 0
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    drop: bool = False
    renew: bool = False
    alter: str | None = None
    token: str | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        if self.times is None and self.share is None and self.for_s is None:
            self.times = 1

    @classmethod
    def from_json(cls, given: object) -> Fault:
        """Read a fault from a request's body; raises `BadFault` for unknown or missing fields and wrong types."""
        allowed = [each.name for each in fields(cls)]
        if not isinstance(given, dict):
            raise BadFault(f"a fault is an object with path and any of {', '.join(allowed)}")
        named = _named(given.get("kind"))
        given = {**named, **{name: value for name, value in given.items() if value is not None}}
        if "path" not in given:
            raise BadFault(f"a fault is an object with path and any of {', '.join(allowed)}")
        if unknown := set(given) - set(allowed):
            raise BadFault(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(allowed)}")
        fault = cls(**given)
        fault._check()
        return fault

    def _check(self) -> None:
        for name, kind in _TYPES.items():
            _check_type(name, kind, getattr(self, name))
        for name, kind in _OPTIONAL.items():
            if getattr(self, name) is not None:
                _check_type(name, kind, getattr(self, name))
        if self.status is not None and not (isinstance(self.status, int) and 100 <= self.status <= 599):
            raise BadFault(f"status must be 100 to 599, got {self.status!r}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise BadFault(f"share must be 0 to 1, got {self.share!r}")
        for name, value, known in (("alter", self.alter, ALTERATIONS), ("token", self.token, TOKENS)):
            if value is not None and value not in known:
                raise BadFault(f"{name} must be one of {', '.join(known)}, got {value!r}")

    @property
    def response_body(self) -> object:
        """The body of the failing response: the given one, or a default for the status."""
        return self.body if self.body is not None else {"error": ERROR_TEXTS.get(self.status or 500, "Fault")}

    def matches(self, method: str, path: str, query: Mapping[str, str], character_id: int | None) -> bool:
        """Return whether the fault applies to a request."""
        return (
            fnmatch.fnmatchcase(path, self.path)
            and self.method in (None, method)
            and self.character_id in (None, character_id)
            and all(query.get(name) == str(value) for name, value in self.query.items())
        )


def _named(kind: object) -> dict[str, object]:
    if kind is None:
        return {}
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadFault(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind]


def _check_type(name: str, kind: type | tuple[type, ...], value: object) -> None:
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        expected = kind.__name__ if isinstance(kind, type) else "number"
        raise BadFault(f"{name} must be of type {expected}, got {value!r}")


class _Active:
    """A fault that was added, with its times and its count of requests."""

    def __init__(self, fault: Fault, added_s: float, rng: random.Random) -> None:
        self.fault = fault
        self._from_s = added_s + fault.at_s
        self._until_s = float("inf") if fault.for_s is None else self._from_s + fault.for_s
        self._rng = rng
        self._seen = 0

    def is_over(self, now_s: float) -> bool:
        return now_s >= self._until_s or (self.fault.times is not None and self.fault.times <= 0)

    def selects(self, now_s: float) -> bool:
        """Count a matching request; return whether it fails."""
        fault = self.fault
        if not self._from_s <= now_s < self._until_s:
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        self._seen += 1
        if self._seen % (fault.every or 1) or (fault.share is not None and self._rng.random() >= fault.share):
            return False
        if fault.times is not None:
            fault.times -= 1
        return True


class Faults:
    """The faults that wait for their requests, in the order in which they were added."""

    def __init__(self, clock: SandboxClock, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._active: list[_Active] = []
        self._added = 0
        self._lock = threading.Lock()

    def add(self, fault: Fault, from_s: float | None = None) -> None:
        """Add a fault whose times count from `from_s`, or from now.

        Its random share depends only on the seed and on the number of faults before it.
        """
        with self._lock:
            self._added += 1
            from_s = self._clock.now() if from_s is None else from_s
            self._active.append(_Active(fault, from_s, draw(self._seed, "fault", self._added)))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._active.clear()

    def waiting(self) -> list[Fault]:
        """Return the faults that still apply to future requests."""
        with self._lock:
            self._drop_ended()
            return [replace(each.fault) for each in self._active]

    def take(self, method: str, path: str, query: Mapping[str, str], character_id: int | None = None) -> Fault | None:
        """Return the fault for this request, if any, and count it."""
        with self._lock:
            self._drop_ended()
            now_s = self._clock.now()
            for each in self._active:
                if each.fault.matches(method, path, query, character_id) and each.selects(now_s):
                    return each.fault
        return None

    def _drop_ended(self) -> None:
        now_s = self._clock.now()
        self._active = [each for each in self._active if not each.is_over(now_s)]
