"""Makes time run fast in a whole system: name this module in NOMAD_MODULES, and the clock in CHAOS_CLOCK.

Everything that reads the application's clock (freshness, intervals, tokens, schedules, the limiter's windows and
brakes) follows the fast one as it is: clocks are passed in, and scripts convert Redis' time. Only delays of jobs are
real time, so they are divided by the speed here. Leases, heartbeats, HTTP timeouts and the work itself stay real.

The other way would be to divide every number that means time, CCP's too: the maximal ages, windows and resets of the
sandbox and our intervals and brakes. Most are whole seconds: at a twelfth, a freshness of 5 s would be none, and 30
numbers of the product would have to be changeable only for this.
"""

from __future__ import annotations

import os
from typing import Any

from nomad_actors import JobType, Payload, Result
from nomad_actors.broker.client.packed_job import PackedJob
from nomad_actors.broker.errors import Defer
from nomad_actors.clock import SystemClock, TimeConversion

from .scheduler_process import FastClock

#: Three numbers: when the host's time is the first (ms), the clock shows the second, and runs at the third's speed.
CLOCK = "CHAOS_CLOCK"


class NoPayload(Payload):
    """An empty payload."""


class Time(Result):
    """What a worker's clock shows."""

    now_ms: int


def read_time(payload: NoPayload) -> Time:
    """Return the time; running it twice returns two times."""
    return Time(now_ms=SystemClock().now_ms())


READ_TIME = JobType(name="read-time", queue="read-time", payload=NoPayload, result=Time, run=read_time)


def as_text(clock: FastClock) -> str:
    """Return the value of CHAOS_CLOCK for a clock."""
    return clock.conversion().as_argument()


def install(clock: FastClock) -> None:
    """Replace this process's clock, and shorten the delays of the jobs that it adds or defers."""
    conversion = clock.conversion()
    SystemClock.now_ms = lambda self: clock.now_ms()  # type: ignore[method-assign]
    SystemClock.conversion = lambda self: conversion  # type: ignore[method-assign]
    # Deferrals that are converted already are divided by the speed like all others here.
    TimeConversion.real_seconds = lambda self, ms: ms / 1000  # type: ignore[method-assign]
    _shorten_deferrals(conversion)
    _shorten_delays(conversion)


def _shorten_deferrals(conversion: TimeConversion) -> None:
    defer = Defer.__init__

    def deferred(self: Defer, seconds: float, reason: str = "") -> None:
        defer(self, seconds / conversion.speed, reason)

    Defer.__init__ = deferred  # type: ignore[method-assign]


def _shorten_delays(conversion: TimeConversion) -> None:
    pack = PackedJob.of.__func__  # type: ignore[attr-defined]

    def packed(cls: type[PackedJob], message: Any, *, delay_ms: int, **others: Any) -> PackedJob:
        job: PackedJob = pack(cls, message, delay_ms=round(delay_ms / conversion.speed), **others)
        return job

    PackedJob.of = classmethod(packed)  # type: ignore[method-assign, assignment]


if text := os.environ.get(CLOCK):
    install(FastClock(*map(float, text.split())))
