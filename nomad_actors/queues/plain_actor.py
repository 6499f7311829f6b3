"""A Dramatiq actor that is no job type. Here only the schedule of its `periodic=` option adds its jobs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dramatiq import Actor

from ..errors import BadInput, BadPayload
from ..logs.foreign_text import safe_repr
from .schedules.schedule import JobSchedule, Schedule


@dataclass(frozen=True)
class PlainActor:
    """An actor for its schedule, which calls it without arguments."""

    name: str
    queue: str
    priority: int
    schedules: tuple[Schedule, ...]
    payload_version: int = 1

    @classmethod
    def of(cls, actor: Actor[Any, Any]) -> PlainActor:
        """Return an actor with the schedule of its `periodic` option, which has the actor's name.

        Raises `BadInput` naming what is wrong with the option and what is allowed.
        """
        periodic = actor.options.get("periodic")
        summary = (inspect.getdoc(actor.fn) or "").partition("\n")[0]
        schedules = (
            () if periodic is None else (Schedule(name=actor.actor_name, expression=periodic, description=summary),)
        )
        plain = cls(actor.actor_name, actor.queue_name, actor.priority, schedules)
        try:
            plain.job_schedules()
        except BadInput as error:
            raise BadInput(f"actor {actor.actor_name!r} with periodic={safe_repr(periodic, 80)}: {error}") from error
        return plain

    def job_schedules(self) -> list[JobSchedule]:
        """Return its schedule with the job that it adds; empty without `periodic`."""
        return list(map(self.bind, self.schedules))

    def bind(self, schedule: Schedule) -> JobSchedule:
        """Return a schedule with the job of this actor that it adds.

        Raises `BadInput` naming what is wrong with it and what is allowed.
        """
        return schedule.bind(queue=self.queue, job_type=self.name, data=self.write(schedule.data))

    def write(self, data: object) -> dict[str, Any]:
        """Return the message's arguments: none. Raises `BadPayload` if there are any."""
        if not isinstance(data, Mapping) or data:
            raise BadPayload(
                f"actor {self.name!r} is scheduled without arguments, not with {safe_repr(data, 80)} (allowed: {{}}); "
                "a JobType has data"
            )
        return {}
