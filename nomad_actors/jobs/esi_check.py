"""The job that compares our routes with CCP's documents once a week."""

from __future__ import annotations

from ..esi.spec_check import check
from ..queues.job_type import JobType, Payload, Result
from ..queues.policy import Backoff, Priority
from ..queues.schedules.schedule import Schedule
from . import esi_refresh
from .services import Services

NAME = "esi-check"


class EsiCheckPayload(Payload):
    """Nothing: everything is compared."""


class EsiCheckResult(Result):
    """CCP's newest compatibility date, and how CCP's documents differ from our routes."""

    newest_date: str
    differences: list[str]


def run(_: EsiCheckPayload, services: Services) -> EsiCheckResult:
    """Compare our routes with CCP's documents, and keep the result.

    Running it twice is harmless: the second result replaces the first.
    """
    found = check(services.esi, services.limiter.client, services.clock)
    return EsiCheckResult(newest_date=found.newest_date, differences=found.differences)


ESI_CHECK = JobType(
    name=NAME,
    # It uses ESI, so the common pause must reach it.
    queue=esi_refresh.QUEUE,
    payload=EsiCheckPayload,
    result=EsiCheckResult,
    run=run,
    priority=Priority.BATCH,
    attempts=3,
    backoff=Backoff("exponential", 2000),
    time_limit_ms=120_000,
    concurrency=10,
    uses_esi=True,
    schedules=(
        Schedule(
            name=NAME,
            description="Compare our routes with CCP's documents, on Tuesdays at 04:23 UTC",
            expression="23 4 * * 2",
            data={},
        ),
    ),
    description="Compares our routes with CCP's documents.",
)
