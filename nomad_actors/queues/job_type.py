"""What a job type is: one declaration of its payload, result, queue, policy, time limit and callable."""

from __future__ import annotations

import enum
import inspect
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..errors import BadInput
from ..logs.foreign_text import safe_repr
from .payloads import PayloadCodec

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")

#: Dramatiq's own cap on a retry's delay.
MAX_BACKOFF_MS = 7 * 86_400_000


class Priority(enum.IntEnum):
    """How urgent a job is; the lower number starts first, always."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    BATCH = 5

    @classmethod
    def parse(cls, value: object) -> Priority:
        """Return the priority of a name or number.

        Raises `BadInput` with the accepted names for anything else.
        """
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        if isinstance(value, str) and value in {str(int(each)) for each in cls}:
            return cls(int(value))
        if isinstance(value, int) and not isinstance(value, bool) and value in cls._value2member_map_:
            return cls(value)
        accepted = [f"{p.name} ({p.value})" for p in cls]
        raise BadInput(f"unknown priority {safe_repr(value, 200)} (accepted: {', '.join(accepted)})", accepted=accepted)


@dataclass(frozen=True)
class Backoff:
    """How long a failed job waits before its next attempt: `delay_ms` each time, or doubling from it."""

    type: Literal["exponential", "fixed"]
    delay_ms: int

    @classmethod
    def parse(cls, value: object) -> Backoff:
        """Return the backoff of `{"type": "exponential" | "fixed", "delay": ms}`.

        Raises `BadInput` for anything else.
        """
        if isinstance(value, Backoff):
            return value
        if isinstance(value, Mapping) and set(value) == {"type", "delay"}:
            kind, delay = value["type"], value["delay"]
            whole = isinstance(delay, int) and not isinstance(delay, bool)
            if kind in ("exponential", "fixed") and whole and 0 <= delay <= MAX_BACKOFF_MS:
                return cls(kind, delay)
        accepted = f'{{"type": "exponential" or "fixed", "delay": 0 to {MAX_BACKOFF_MS} ms}}'
        raise BadInput(f"unusable backoff {safe_repr(value, 200)} (accepted: {accepted})", accepted=[accepted])

    def as_json(self) -> dict[str, object]:
        """Return the form that callers write and the admin shows."""
        return {"type": self.type, "delay": self.delay_ms}

    def delay_after(self, attempts_made: int) -> int:
        """Return the milliseconds to wait after `attempts_made` (1 or more) attempts, with jitter."""
        if self.type == "fixed":
            return int(self.delay_ms * random.uniform(1, 1.1))
        doubled = self.delay_ms * 2 ** min(attempts_made - 1, 32)
        return min(int(doubled * random.uniform(1, 2)), MAX_BACKOFF_MS)


class Payload(BaseModel):
    """The base of every job's data: frozen, typed, refused as a whole when a field is wrong.

    `payload_version` counts up when a field changes its meaning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Result(BaseModel):
    """The base of every job's result."""

    # What is no number stays what it is; else it would become None where a field may be anything.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")


@dataclass(frozen=True, kw_only=True)
class JobType:
    """One kind of job: everything that the queue, the worker and the admin need to know about it.

    `run` takes the payload, or the payload and the application's services, and returns a `result`.
    """

    name: str
    queue: str
    payload: type[Payload]
    result: type[Result]
    run: Callable[..., Result]
    priority: Priority = Priority.NORMAL
    attempts: int = 3
    backoff: Backoff = Backoff("exponential", 2000)
    time_limit_ms: int = 60_000
    #: Jobs at a time in one worker process; None takes the setting NOMAD_CONCURRENCY.
    concurrency: int | None = None
    #: Jobs at a time over all hosts; None is no limit.
    global_concurrency: int | None = None
    payload_version: int = 1
    #: The fields of the payload that its jobs can be found by; each costs about 130 bytes a job.
    indexed: tuple[str, ...] = ()
    #: Whether it talks to ESI or SSO: the switch that pauses all of that pauses its queue.
    talks_to_esi: bool = False
    description: str = ""
    _codec: PayloadCodec[Payload] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, name in (("job type", self.name), ("queue", self.queue)):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise BadInput(f"{what} name {name!r} must be lower-case letters, digits and dashes")
        if not (isinstance(self.payload, type) and issubclass(self.payload, Payload)):
            raise BadInput(
                f"the payload of job type {self.name!r} must be a subclass of Payload, not {self.payload!r:.80}"
            )
        object.__setattr__(self, "_codec", PayloadCodec(self.name, self.payload))
        known = ", ".join(self.payload.model_fields)
        for name in self.indexed:
            if name not in self.payload.model_fields:
                raise BadInput(f"job type {self.name!r} indexes {name!r}, which its payload lacks (accepted: {known})")
        for name in ("attempts", "time_limit_ms", "concurrency", "global_concurrency"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise BadInput(f"{name} of job type {self.name!r} must be 1 or more, not {number}")

    @property
    def takes_services(self) -> bool:
        """Whether `run` asks for the application's services as its second argument."""
        return len(inspect.signature(self.run).parameters) > 1

    def validate(self, data: Any) -> Payload:
        """Return a caller's `data` as a payload, unknown fields refused at any depth.

        Raises `BadPayload` naming each wrong field.
        """
        return self._codec.validate(data)

    def write(self, data: Any) -> dict[str, Any]:
        """Return a caller's `data` as a message holds it: the producer's side.

        Raises `BadPayload` naming each wrong field, and what would not arrive as it was sent.
        """
        return self._codec.write(data)

    def write_given(self, data: Any) -> dict[str, Any]:
        """Return as `write` does, but without defaults: what a schedule keeps, and writes for each of its jobs.

        Raises as `write`.
        """
        return self._codec.write_given(data)

    def read(self, written: Mapping[str, Any]) -> Payload:
        """Return the payload of a message, unknown fields ignored at any depth: a newer producer, an older worker.

        Raises `BadPayload` naming each wrong field.
        """
        return self._codec.read(written)
