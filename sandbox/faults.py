"""Faults on request: make the next answers of a path fail, come late, or not come at all."""

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
    """Raised when a fault is asked for that does not exist; the text says what is accepted."""


@dataclass
class Fault:
    """One fault.

    `path` is a shell pattern over the path in normal form; `query` must be contained in the request's; the first
    `skip` matching requests pass, the next `times` get the fault. `status` answers instead of the route, with `body`
    (an object is sent as JSON, a text as HTML when it begins with "<") and `headers`. `after` lets the route do its
    work first and loses only its answer. `drop` cuts the connection. `delay_ms` waits first. `renew` begins a new
    snapshot, as if the old one had expired between two pages.
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
        accepted = {each.name: each for each in fields(cls)}
        if not isinstance(given, dict) or "path" not in given:
            raise BadFault(f"a fault is an object with path and any of {', '.join(accepted)}")
        if unknown := set(given) - set(accepted):
            raise BadFault(f"unknown: {', '.join(sorted(unknown))}; accepted: {', '.join(accepted)}")
        fault = cls(**given)
        for name, kind in (("path", str), ("times", int), ("skip", int), ("delay_ms", int), ("query", dict)):
            if not isinstance(getattr(fault, name), kind):
                raise BadFault(f"{name} must be of type {kind.__name__}, got {getattr(fault, name)!r}")
        if fault.status is not None and not (isinstance(fault.status, int) and 100 <= fault.status <= 599):
            raise BadFault(f"status must be 100 to 599, got {fault.status!r}")
        return fault

    @property
    def answer_body(self) -> object:
        """What the failing answer says when nothing else was asked for."""
        return self.body if self.body is not None else {"error": ERROR_TEXTS.get(self.status or 500, "Fault")}

    def matches(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        """Tell whether a request is one of those meant."""
        return (
            fnmatch.fnmatchcase(path, self.path)
            and self.method in (None, method)
            and all(query.get(name) == str(value) for name, value in self.query.items())
        )


class Faults:
    """The faults that are waiting for their requests, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its requests."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        """Return the faults that have not all happened yet."""
        with self._lock:
            return list(self._waiting)

    def take(self, method: str, path: str, query: Mapping[str, str]) -> Fault | None:
        """Return the fault that this request meets, counted."""
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
