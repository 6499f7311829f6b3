"""A schedule as the code declares it, and the same schedule bound to the job type whose jobs it adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from periodiq import CronSpec

from ...errors import BadInput
from ...logs.foreign_text import safe_repr
from ..policy import PriorityValue
from .calendar import Cron, cron, zone
from .fields import check_fields

Word = TypeVar("Word", bound=StrEnum)


class Misfire(StrEnum):
    """What happens to slots that no scheduler filled in time."""

    #: They are recorded as missed.
    SKIP = "skip"
    #: The last of them runs, late; the others are recorded as missed.
    ONCE = "once"
    #: All of them run, up to a limit.
    ALL = "all"


class Overlap(StrEnum):
    """What happens to a slot while the previous job of its schedule still waits or runs."""

    #: It is recorded as missed.
    SKIP = "skip"
    #: Its job waits beside the previous one.
    QUEUE = "queue"
    #: Its job replaces a previous one that waits; a running one continues.
    REPLACE = "replace"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When jobs of a job type are added: each time the cron expression is due in the time zone.

    `max_lateness_seconds` is how late a slot may still run (None: without limit). `overlap` is skip by default, with
    `misfire="all"` queue.
    """

    name: str
    expression: str | CronSpec | Cron
    description: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    timezone: str = "UTC"
    enabled: bool = True
    run_on_init: bool = False
    misfire: Misfire | str = Misfire.ONCE
    max_lateness_seconds: float | None = 86_400
    overlap: Overlap | str | None = None
    priority: PriorityValue | None = None
    attempts: int | None = None

    def bind(self, *, queue: str, job_type: str, data: Mapping[str, Any]) -> JobSchedule:
        """Return this schedule with the job that it adds.

        Raises `BadInput` naming what is wrong and what is allowed.
        """
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(Schedule)}
        return JobSchedule(**{**own, "data": data}, queue=queue, job_type=job_type)


@dataclass(frozen=True, kw_only=True)
class JobSchedule(Schedule):
    """A schedule with the job type and the queue of the jobs that it adds.

    Raises `BadInput` naming what is wrong and what is allowed.
    """

    expression: str = field()
    queue: str
    job_type: str
    # Without defaults: a stored schedule that lacks them cannot be read.
    description: str = field()
    data: Mapping[str, Any] = field()
    cron: Cron = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # Replace a `periodiq.CronSpec` by the text that it was parsed from.
        parsed = cron(self.expression)
        object.__setattr__(self, "expression", parsed.text)
        check_fields({name: getattr(self, name) for name in FIELDS})
        object.__setattr__(self, "cron", parsed)
        zone(self.timezone)
        misfire = _word("misfire", self.misfire, Misfire)
        default = Overlap.QUEUE if misfire is Misfire.ALL else Overlap.SKIP
        overlap = default if self.overlap is None else _word("overlap", self.overlap, Overlap)
        if misfire is Misfire.ALL and overlap is not Overlap.QUEUE:
            raise BadInput(
                f"misfire 'all' with overlap '{overlap}' would run one of them: use overlap 'queue' or misfire 'once'"
            )
        object.__setattr__(self, "misfire", misfire)
        object.__setattr__(self, "overlap", overlap)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone that the expression is read in."""
        return zone(self.timezone)

    def next_due(self, after: datetime) -> datetime:
        """Return the first due instant after `after`, in UTC."""
        return next(self.cron.after(after, self.zone))

    def as_json(self) -> dict[str, Any]:
        """Return everything but the name and the queue, as it is stored."""
        fields = {name: getattr(self, name) for name in FIELDS if name not in ("name", "queue")}
        return {**fields, "data": dict(self.data), "misfire": str(self.misfire), "overlap": str(self.overlap)}


#: The names of a schedule's fields.
FIELDS = tuple(each.name for each in dataclasses.fields(JobSchedule) if each.init)


def _word(name: str, value: object, words: type[Word]) -> Word:
    try:
        return words(str(value))
    except ValueError:
        raise BadInput(f"{name} {safe_repr(value, 200)} is invalid (allowed: {', '.join(words)})") from None
