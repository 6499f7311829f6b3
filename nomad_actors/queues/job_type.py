"""A job type: one declaration of its payload, result, queue, policy, schedules and callable."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar, Unpack

from ..errors import BadInput
from .default import default_queues
from .new_job import AddedJob, CallOptions, NewJob
from .payloads.codec import PayloadCodec
from .policy import DEFAULT_BACKOFF, Backoff, Priority
from .schedules.schedule import JobSchedule, Schedule

if TYPE_CHECKING:
    from .registry import Queues

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Payload(BaseModel):
    """The base of every job's data: frozen, typed, and refused if any field is wrong.

    Increase `payload_version` when a field changes its meaning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Result(BaseModel):
    """The base of every job's result."""

    # Keep NaN and infinity: otherwise they would become None in a field of type Any.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    if TYPE_CHECKING:

        @classmethod
        def _takes(cls, result: Self, /) -> None:
            """Show type checkers which results a class allows; see `ResultClass`."""


P = TypeVar("P", bound=Payload, default=Any)
R = TypeVar("R", bound=Result | None, default=Any)
_R_contra = TypeVar("_R_contra", contravariant=True)


class ResultClass(Protocol[_R_contra]):
    """The class of a job type's results.

    `type[R]` would allow any class: a type checker would infer R as the common base of the class and `run`'s result.
    """

    def _takes(self, result: _R_contra, /) -> object: ...


@dataclass(frozen=True, kw_only=True)
class JobType(Generic[P, R]):
    """One kind of job: everything that the queue, the worker and the admin need to know about it.

    `run` takes the payload, or the payload and the application's services. It returns a `result`, if declared, or None.
    """

    name: str
    queue: str
    payload: type[P]
    result: ResultClass[R] | None = None
    run: Callable[[P], R] | Callable[[P, Any], R]
    priority: Priority = Priority.NORMAL
    attempts: int = 3
    backoff: Backoff = DEFAULT_BACKOFF
    time_limit_ms: int = 60_000
    #: Jobs at a time in one worker process; None uses the setting NOMAD_CONCURRENCY.
    concurrency: int | None = None
    #: Jobs at a time over all hosts; None means no limit.
    global_concurrency: int | None = None
    payload_version: int = 1
    #: The fields of the payload by which jobs can be found; each costs about 130 bytes per job.
    indexed: tuple[str, ...] = ()
    #: When the scheduler adds its jobs.
    schedules: tuple[Schedule, ...] = ()
    #: Whether it uses ESI or SSO: the switch that pauses ESI traffic pauses its queue.
    uses_esi: bool = False
    description: str = ""
    _codec: PayloadCodec[P] = field(init=False, repr=False, compare=False)

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
                raise BadInput(f"job type {self.name!r} indexes {name!r}, which its payload lacks (allowed: {known})")
        for name in ("attempts", "time_limit_ms", "concurrency", "global_concurrency"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise BadInput(f"{name} of job type {self.name!r} must be 1 or more, not {number}")
        self.job_schedules()

    def job_schedules(self) -> list[JobSchedule]:
        """Return its schedules with the job that each adds. Raises the same errors as `bind`."""
        return list(map(self.bind, self.schedules))

    def bind(self, schedule: Schedule) -> JobSchedule:
        """Return a schedule with the job of this type that it adds.

        Raises `BadInput` naming what is wrong and what is allowed.
        """
        if not isinstance(schedule, Schedule):
            raise BadInput(f"a schedule of job type {self.name!r} must be a Schedule, not {schedule!r:.80}")
        return schedule.bind(queue=self.queue, job_type=self.name, data=self._codec.write_given(schedule.data))

    def enqueue(self, payload: P, *, queues: Queues | None = None, **options: Unpack[CallOptions]) -> AddedJob:
        """Add a job to `queues`, by default this process' application; `options` override the job type's own.

        Raises the same errors as `Queues.add_job`.
        """
        return self.enqueue_many([payload], queues=queues, **options)[0]

    def enqueue_many(
        self, payloads: Sequence[P], *, queues: Queues | None = None, **options: Unpack[CallOptions]
    ) -> list[AddedJob]:
        """Add a job for each payload, all or none; the `options` apply to each.

        Raises the same errors as `Queues.add_jobs`.
        """
        jobs = [NewJob(queue=self.queue, job_type=self.name, data=payload, **options) for payload in payloads]
        return (default_queues() if queues is None else queues).add_jobs(jobs)

    def validate(self, data: Any) -> P:
        """Return a caller's `data` as a payload; unknown fields are refused at any depth.

        Raises `BadPayload` naming each wrong field.
        """
        return self._codec.validate(data)

    def write(self, data: Any) -> dict[str, Any]:
        """Return a caller's `data` in the form of a message: the producer's side.

        Raises `BadPayload` naming each wrong field, and each value that would not arrive unchanged.
        """
        return self._codec.write(data)

    def read(self, written: Mapping[str, Any]) -> P:
        """Return the payload of a message; unknown fields are ignored at any depth, because the producer may be newer.

        Raises `BadPayload` naming each wrong field.
        """
        return self._codec.read(written)
