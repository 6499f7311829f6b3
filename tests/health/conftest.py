"""The queues of an application on a Redis that the test chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.clock import Clock
from nomad_actors.health import Finding, Installation, Report, examine
from nomad_actors.settings import Settings
from nomad_actors.testing import running
from nomad_actors.thresholds import DoctorThresholds
from tests.commands import shop
from tests.support.processes import environ_for

Access = Callable[[str], QueueAccess]


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """The environment of the application's processes."""
    return environ_for(tmp_path, redis_url, NOMAD_MODULES="tests.commands.shop")


@pytest.fixture
def access_to(tmp_path: Path) -> Iterator[Access]:
    """The application's queues on the Redis at a URL."""
    opened: list[QueueAccess] = []
    shop.gate.clear()

    def open_(url: str) -> QueueAccess:
        environ = environ_for(tmp_path, url, NOMAD_MODULES="tests.commands.shop")
        opened.append(open_queues(Settings.from_env(environ)))
        return opened[-1]

    yield open_
    shop.gate.set()
    for access in opened:
        access.close()


@pytest.fixture
def access(access_to: Access, redis_url: str) -> QueueAccess:
    """The application's queues on the test run's empty Redis."""
    return access_to(redis_url)


@pytest.fixture
def working(access: QueueAccess, wait_until: Callable[..., None]) -> Callable[[], AbstractContextManager[None]]:
    """A live worker of the shop for the time of a `with`."""

    @contextmanager
    def work() -> Iterator[None]:
        with running(access.broker, queues={"shop"}):
            wait_until(lambda: access.queues.get_queue("shop").snapshot().workers, what="a live worker")
            try:
                yield
            finally:
                shop.gate.set()

    return work


def found_in(access: QueueAccess, *, clock: Clock | None = None, **limits: float) -> dict[str, Finding]:
    """Return what the doctor finds, by the check's name."""
    return {finding.name: finding for finding in report_of(access, clock=clock, **limits).findings}


def report_of(access: QueueAccess, *, clock: Clock | None = None, **limits: float) -> Report:
    """Return the doctor's report."""
    thresholds = DoctorThresholds(**{"not_moving_seconds": 0.0, **limits})  # type: ignore[arg-type]
    # The schedules are read by the queues' clock.
    access.queues.clock = clock or access.clock
    installation = Installation(access.settings, access.queues.clock, access.broker, access.queues, thresholds)
    return examine(installation)
