"""The schedules, as data: what is due when."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from ..jobs import SCHEDULED_DATA
from .calendar import CRON_EXPRESSIONS, Cron, cron, zone

#: One schedule's slot of one instant has one id, whoever fires it.
_NAMESPACE = uuid.UUID("3f0b7f3e-8d0a-4c0e-9a52-6c1b9d2f7a10")


@dataclass(frozen=True)
class Schedule:
    """A job that is added whenever its cron expression is due in its time zone.

    Raises `BadInput` for an expression or a time zone that is none.
    """

    name: str
    description: str
    expression: str
    queue: str
    job_type: str
    data: Mapping[str, Any]
    timezone: str = "UTC"
    enabled: bool = True
    cron: Cron = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cron", cron(self.expression))
        zone(self.timezone)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone that the expression is read in."""
        return zone(self.timezone)

    def next_due(self, after: datetime) -> datetime:
        """Return the first due instant after `after`, in UTC."""
        return next(self.cron.after(after, self.zone))

    def last_due(self, until: datetime) -> datetime | None:
        """Return the last due instant up to `until`, in UTC; None when there was none for eight years."""
        for days in (1, 8, 32, 367, 366 * 8 + 1):
            last = None
            for instant in self.cron.after(until - timedelta(days=days), self.zone):
                if instant > until:
                    break
                last = instant
            if last is not None:
                return last
        return None

    def slot_id(self, due: datetime) -> str:
        """Return the id of the job that fills the slot of one due instant."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.name}/{due.astimezone(UTC).isoformat()}"))


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
