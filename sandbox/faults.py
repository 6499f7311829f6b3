"""Faults on request: make the next responses of a path fail, arrive late, or not arrive at all."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

ERROR_TEXTS = {
    420: "Error limited",
    429: "Rate limit exceeded",
    500: "Unhandled internal error encountered!",
    502: "Bad Gateway",
    503: "The datasource tranquility is temporarily unavailable",
    504: "Timeout contacting tranquility",
}


class BadFault(ValueError):
    """Raised for an invalid fault; the message says what is allowed."""


@dataclass
class Fault:
    """One fault.

    `path` is a shell pattern for the path in normal form; `query` must be a subset of the request's. The first `skip`
    matching requests pass, the next `times` get the fault. `status` responds instead of the route, with `body` (an
    object is sent as JSON, a text as HTML if it begins with "<") and `headers`. With `after` the route runs first and
    only its response is lost. `drop` cuts the connection. `delay_ms` waits first. `renew` takes a new snapshot, as if
    the old one had expired between two pages.
    """

    path: str
    status: int | None = None
    times: int = 1
    skip: int = 0
    method: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    delay_ms: int = 0
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    drop: bool = False
    renew: bool = False

    @classmethod
    def from_json(cls, given: object) -> Fault:
        """Read a fault from a request's body; raises `BadFault` for unknown or missing fields and wrong types."""
        allowed = {each.name: each for each in fields(cls)}
        if not isinstance(given, dict) or "path" not in given:
            raise BadFault(f"a fault is an object with path and any of {', '.join(allowed)}")
        if unknown := set(given) - set(allowed):
            raise BadFault(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(allowed)}")
        fault = cls(**given)
        for name, kind in (("path", str), ("times", int), ("skip", int), ("delay_ms", int), ("query", dict)):
            if not isinstance(getattr(fault, name), kind):
                raise BadFault(f"{name} must be of type {kind.__name__}, got {getattr(fault, name)!r}")
        if fault.status is not None and not (isinstance(fault.status, int) and 100 <= fault.status <= 599):
            raise BadFault(f"status must be 100 to 599, got {fault.status!r}")
        return fault

    @property
    def response_body(self) -> object:
        """The body of the failing response: the given one, or a default for the status."""
        return self.body if self.body is not None else {"error": ERROR_TEXTS.get(self.status or 500, "Fault")}

    def matches(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        """Return whether the fault applies to a request."""
        return (
            fnmatch.fnmatchcase(path, self.path)
            and self.method in (None, method)
            and all(query.get(name) == str(value) for name, value in self.query.items())
        )


class Faults:
    """The faults that wait for their requests, in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        """Return the faults that still apply to future requests."""
        with self._lock:
            return list(self._waiting)

    def take(self, method: str, path: str, query: Mapping[str, str]) -> Fault | None:
        """Return the fault for this request, if any, and count it."""
        with self._lock:
            for fault in self._waiting:
                if not fault.matches(method, path, query):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None
