"""The schedules, as data: what is due when."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ..errors import BadInput
from ..jobs import SCHEDULED_DATA
from ..logs.foreign_text import safe_repr
from .calendar import CRON_EXPRESSIONS, Cron, cron, zone
from .schedule_fields import check_fields

#: A slot that is filled within this time is not late.
GRACE_SECONDS = 60
#: How many late slots of one schedule run at most.
CAP = 100

Word = TypeVar("Word", bound=StrEnum)


class Misfire(StrEnum):
    """What becomes of slots that no scheduler could fill in time, by more than `GRACE_SECONDS`."""

    #: They are missed, and written down as such.
    SKIP = "skip"
    #: The last of them runs, late; the others are missed.
    ONCE = "once"
    #: All of them run, the last `CAP` at most.
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a slot whose schedule's previous job still waits or runs."""

    #: It is missed, and written down as such.
    SKIP = "skip"
    #: Its job waits beside the previous one.
    QUEUE = "queue"
    #: Its job takes the place of a previous one that waits; one that runs goes on.
    REPLACE = "replace"


@dataclass(frozen=True)
class ScheduledJob:
    """What a schedule adds: a job type with its data, and what differs from the job type's own."""

    job_type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    priority: int | str | None = None
    attempts: int | None = None


@dataclass(frozen=True)
class Schedule:
    """A job that is added whenever its cron expression is due in its time zone.

    `max_lateness_seconds` is how late a slot may still run (None: however late). `overlap` is skip, with
    `misfire="all"` queue.

    Raises `BadInput` naming what is wrong and what is accepted.
    """

    name: str
    description: str
    expression: str
    queue: str
    job_type: str
    data: Mapping[str, Any]
    timezone: str = "UTC"
    enabled: bool = True
    run_on_init: bool = False
    misfire: Misfire | str = Misfire.ONCE
    max_lateness_seconds: float | None = 86_400
    overlap: Overlap | str | None = None
    priority: int | str | None = None
    attempts: int | None = None
    cron: Cron = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # A `periodiq.CronSpec` is taken for the text that it was made of.
        parsed = cron(self.expression)
        object.__setattr__(self, "expression", parsed.text)
        check_fields({each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.init})
        object.__setattr__(self, "cron", parsed)
        zone(self.timezone)
        misfire = _word("misfire", self.misfire, Misfire)
        standard = Overlap.QUEUE if misfire is Misfire.ALL else Overlap.SKIP
        overlap = standard if self.overlap is None else _word("overlap", self.overlap, Overlap)
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
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.init}
        del fields["name"], fields["queue"]
        return {**fields, "data": dict(self.data), "misfire": str(self.misfire), "overlap": str(self.overlap)}


def _word(name: str, value: object, words: type[Word]) -> Word:
    try:
        return words(str(value))
    except ValueError:
        raise BadInput(f"{name} {safe_repr(value, 200)} is not accepted: {', '.join(words)}") from None


def _minute_of(name: str) -> int:
    """Return a minute of the hour that is not the full hour, the same on every host.

    CCP sees 100 times the normal load on the hour and asks for spreading (developers.eveonline.com, 2025-10-07).
    """
    return 5 + hashlib.blake2b(name.encode(), digest_size=1).digest()[0] % 50


SCHEDULES: tuple[Schedule, ...] = (
    Schedule(
        name="token-refresh",
        description="Keep idle logins alive and find the dead ones, every two hours",
        expression=CRON_EXPRESSIONS["EVERY_2_HOURS"],
        queue="token-refresh",
        job_type="token-refresh",
        data=SCHEDULED_DATA["token-refresh"],
    ),
    Schedule(
        name="esi-data-refresh",
        description="Refresh the ESI routes that are due, every five minutes",
        expression=CRON_EXPRESSIONS["EVERY_5_MINUTES"],
        queue="esi-refresh",
        job_type="esi-data-refresh",
        data=SCHEDULED_DATA["esi-data-refresh"],
    ),
    Schedule(
        name="historical-data-collection",
        description="Collect every character's history, daily",
        # Clear of the daily downtime at 11:00 UTC and of the full hour.
        expression=f"{_minute_of('historical-data-collection')} 4 * * *",
        queue="historical-data",
        job_type="historical-data-collection",
        data=SCHEDULED_DATA["historical-data-collection"],
    ),
    Schedule(
        name="cache-cleanup",
        description="Remove what is stale from the ESI cache, then bring it to its size, daily at 3 AM UTC",
        expression=CRON_EXPRESSIONS["DAILY_3AM"],
        queue="cache-cleanup",
        job_type="cache-cleanup",
        data=SCHEDULED_DATA["cache-cleanup"],
    ),
)
