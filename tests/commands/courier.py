"""A job type for one character, whose jobs run until they are cancelled."""

from __future__ import annotations

import time

from nomad_actors import JobType, Payload, Result, current_job


class Trip(Payload):
    """A trip of one character."""

    character_id: int


class Arrival(Result):
    """Nothing is known of it."""


def run(trip: Trip) -> Arrival:
    """Fly until the job is cancelled."""
    while not current_job().cancelled:
        time.sleep(0.02)
    return Arrival()


TRIP = JobType(
    name="trip", queue="courier", payload=Trip, result=Arrival, run=run, concurrency=2, indexed=("character_id",)
)
