"""Sped-up alerts on the demo's system: each fault fires exactly its own alerts, and all of them resolve."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nomad_actors.queues import NewJob
from nomad_actors.scheduler import ScheduledJob
from nomad_actors.testing import wait_until

from .watched_system import WatchedSystem

#: A proof of at least this duration causes every fault; a shorter one only the fastest.
FULL_SECONDS = 120.0
SHORT, SHORTEST = ("failing job type", "redis down"), ("redis down",)
SHORT_SECONDS = 20.0
FIRE_SECONDS = 110.0
RESOLVE_SECONDS = 110.0
#: How long nothing may fire before the first fault: an absent metric takes ten seconds to fire.
QUIET_SECONDS = 12.0


@dataclass(frozen=True)
class FailureGroup:
    """A fault, its repair, and the alerts that it fires then and during recovery."""

    inject: Callable[[WatchedSystem], None]
    repair: Callable[[WatchedSystem], None]
    fires: frozenset[str]
    #: Alerts that fire for a while after the repair.
    recovering: frozenset[str] = frozenset()


def alerts(draw: random.Random, seconds: float) -> str:
    """Cause faults in random order and check which alerts a real Prometheus fires."""
    names = list(FAULTS if seconds >= FULL_SECONDS else SHORT if seconds >= SHORT_SECONDS else SHORTEST)
    draw.shuffle(names)
    results = []
    with tempfile.TemporaryDirectory() as directory, WatchedSystem(Path(directory)) as system:
        _wait_until_quiet(system)
        for name in names:
            fire_seconds, resolve_seconds = _run_fault(system, name, FAULTS[name])
            results.append(f"{name} fired in {fire_seconds:.0f} s, resolved in {resolve_seconds:.0f} s")
    return "; ".join(results)


def _wait_until_quiet(system: WatchedSystem) -> None:
    """Wait until nothing has fired for a while: metrics are absent while the system starts."""
    deadline, quiet_since = time.monotonic() + 90, time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        if firing := system.firing():
            quiet_since = time.monotonic()
            assert quiet_since < deadline, f"alerts without a fault: {sorted(firing)}"
        time.sleep(0.25)


def _run_fault(system: WatchedSystem, name: str, fault: FailureGroup) -> tuple[float, float]:
    """Cause and repair a fault; return how many seconds its alerts took to fire and to resolve."""
    seen: set[str] = set()
    began = time.monotonic()
    fault.inject(system)
    while not seen >= fault.fires:
        seen |= system.firing()
        assert seen <= fault.fires, f"{name}: unexpected alerts: {sorted(seen - fault.fires)}"
        is_late = time.monotonic() - began > FIRE_SECONDS
        assert not is_late, f"{name}: did not fire: {sorted(fault.fires - seen)}"
        time.sleep(0.25)
    fired = time.monotonic()
    fault.repair(system)
    quiet_since = None
    while quiet_since is None or time.monotonic() - quiet_since < 5:
        firing = system.firing()
        seen |= firing
        allowed = fault.fires | fault.recovering
        assert seen <= allowed, f"{name}, repaired: unexpected alerts: {sorted(seen - allowed)}"
        pending = fault.recovering - seen
        is_late = time.monotonic() - fired > RESOLVE_SECONDS
        assert not is_late, f"{name}, repaired: did not resolve: {sorted(firing)}; did not fire: {sorted(pending)}"
        quiet_since = None if firing or pending else quiet_since or time.monotonic()
        time.sleep(0.25)
    return fired - began, time.monotonic() - fired - 5


def _add(system: WatchedSystem, count: int, **data: object) -> None:
    job = NewJob(queue="watched", job_type="watched", data=data)
    system.app.queues.add_jobs([job] * count)


def _kill_workers(system: WatchedSystem) -> None:
    _add(system, 4, seconds=3.0)
    queue = system.app.queues.get_queue("watched")
    wait_until(lambda: queue.counts()["active"] == 4, timeout_seconds=20, what="four running jobs")
    system.kill("workers")


def _kill_redis(system: WatchedSystem) -> None:
    system.redis.kill()


def _stop_scheduler(system: WatchedSystem) -> None:
    job = ScheduledJob("cache-cleanup", {"type": "expired"})
    system.schedules.schedule_job("every-minute", "* * * * *", job)
    system.kill("scheduler", signal.SIGTERM)


def _start_scheduler(system: WatchedSystem) -> None:
    """Start the scheduler and check that the missed slot gets its job."""
    system.start("scheduler")

    def slot_is_filled() -> bool:
        state = system.schedules.find("every-minute")
        return state is not None and system.schedules.slots(state)[1] is not None

    wait_until(slot_is_filled, timeout_seconds=60, what="the slot of the minute that the scheduler was away")
    system.schedules.remove_job("every-minute")


def _start_redis(system: WatchedSystem) -> None:
    system.redis.start()


#: By name. Each would wake an operator.
FAULTS: Mapping[str, FailureGroup] = {
    "dead workers": FailureGroup(
        inject=_kill_workers,
        repair=lambda system: system.start("workers"),
        fires=frozenset({"NomadWorkerDown", "NomadNoWorkers", "NomadQueueUnserved"}),
        recovering=frozenset({"NomadWorkerLost"}),
    ),
    "stopped scheduler": FailureGroup(
        inject=_stop_scheduler,
        repair=_start_scheduler,
        fires=frozenset({"NomadSchedulerSilent", "NomadScheduleLate"}),
    ),
    "backlog": FailureGroup(
        inject=lambda system: _add(system, 4_000, seconds=0.05),
        # The workers drain the queue.
        repair=lambda system: None,
        fires=frozenset({"NomadBacklog"}),
    ),
    "failing job type": FailureGroup(
        inject=lambda system: _add(system, 30, fail=True),
        # Later jobs complete.
        repair=lambda system: _add(system, 60),
        fires=frozenset({"NomadFailureRateHigh"}),
    ),
    "redis down": FailureGroup(
        inject=_kill_redis,
        repair=_start_redis,
        fires=frozenset({"NomadCollectorFailing"}),
    ),
}
