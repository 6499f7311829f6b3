"""Two queues of an application, and a live scheduler."""

from __future__ import annotations

import pytest

from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.queues import Queues
from nomad_actors.settings import Settings

from .errands import beat_scheduler, gate, job_type


@pytest.fixture
def queues(broker: JobBroker) -> Queues:
    gate.clear()
    queues = Queues(broker, settings=Settings(), clock=SystemClock())
    queues.register(job_type("cleaning", "cleaning"))
    queues.register(job_type("fetching", "fetching"))
    beat_scheduler(queues)
    return queues
