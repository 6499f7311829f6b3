"""The alerts in fast motion on the demo's system: what breaks fires what says so, nothing else, and all resolve."""

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

from .watched_system import WatchedSystem, wait

#: From here on every trouble is made; of a shorter proof those that take the least time.
WHOLE_SECONDS = 120.0
BRIEF, BRIEFER = ("failing job type", "redis down"), ("redis down",)
BRIEF_SECONDS = 20.0
FIRE_SECONDS = 110.0
RESOLVE_SECONDS = 110.0
#: How long nothing may fire before the first trouble: an absent metric takes ten seconds to be told.
CALM_SECONDS = 12.0


@dataclass(frozen=True)
class Trouble:
    """Something that breaks, how it is mended, and the alerts that tell of it: then, and while it recovers."""

    make: Callable[[WatchedSystem], None]
    mend: Callable[[WatchedSystem], None]
    fires: frozenset[str]
    #: What fires once it is mended, for a while.
    recovering: frozenset[str] = frozenset()


def alerts(draw: random.Random, seconds: float) -> str:
    """Make trouble after trouble, in a drawn order, and watch what a real Prometheus fires."""
    names = list(TROUBLES if seconds >= WHOLE_SECONDS else BRIEF if seconds >= BRIEF_SECONDS else BRIEFER)
    draw.shuffle(names)
    told = []
    with tempfile.TemporaryDirectory() as directory, WatchedSystem(Path(directory)) as system:
        _calm(system)
        for name in names:
            fire_seconds, resolve_seconds = _through(system, name, TROUBLES[name])
            told.append(f"{name} fired in {fire_seconds:.0f} s, resolved in {resolve_seconds:.0f} s")
    return "; ".join(told)


def _calm(system: WatchedSystem) -> None:
    """Wait until nothing fires for a while: what was absent while the system started is over."""
    deadline, calm_since = time.monotonic() + 90, time.monotonic()
    while time.monotonic() - calm_since < CALM_SECONDS:
        if firing := system.firing():
            calm_since = time.monotonic()
            assert calm_since < deadline, f"nothing is wrong, and yet: {sorted(firing)}"
        time.sleep(0.25)


def _through(system: WatchedSystem, name: str, trouble: Trouble) -> tuple[float, float]:
    """Make a trouble and mend it; return how long its alerts took to fire and to resolve."""
    seen: set[str] = set()
    began = time.monotonic()
    trouble.make(system)
    while not seen >= trouble.fires:
        seen |= system.firing()
        assert seen <= trouble.fires, f"{name}: fired for nothing: {sorted(seen - trouble.fires)}"
        late = time.monotonic() - began > FIRE_SECONDS
        assert not late, f"{name}: did not fire: {sorted(trouble.fires - seen)}"
        time.sleep(0.25)
    fired = time.monotonic()
    trouble.mend(system)
    quiet_since = None
    while quiet_since is None or time.monotonic() - quiet_since < 5:
        firing = system.firing()
        seen |= firing
        allowed = trouble.fires | trouble.recovering
        assert seen <= allowed, f"{name}, mended: fired for nothing: {sorted(seen - allowed)}"
        to_come = trouble.recovering - seen
        late = time.monotonic() - fired > RESOLVE_SECONDS
        assert not late, f"{name}, mended: did not resolve: {sorted(firing)}; did not fire: {sorted(to_come)}"
        quiet_since = None if firing or to_come else quiet_since or time.monotonic()
        time.sleep(0.25)
    return fired - began, time.monotonic() - fired - 5


def _add(system: WatchedSystem, count: int, **data: object) -> None:
    job = NewJob(queue="watched", job_type="watched", data=data)
    system.app.queues.add_jobs([job] * count)


def _kill_workers(system: WatchedSystem) -> None:
    _add(system, 4, seconds=3.0)
    queue = system.app.queues.get_queue("watched")
    wait(lambda: queue.counts()["active"] == 4, seconds=20, what="four running jobs")
    system.kill("workers")


def _kill_redis(system: WatchedSystem) -> None:
    system.redis.kill()


def _stop_scheduler(system: WatchedSystem) -> None:
    job = ScheduledJob("cache-cleanup", {"type": "expired"})
    system.schedules.schedule_job("every-minute", "* * * * *", job)
    system.kill("scheduler", signal.SIGTERM)


def _start_scheduler(system: WatchedSystem) -> None:
    """Start it, and see that the missed slot was made up."""
    system.start("scheduler")

    def made_up() -> bool:
        standing = system.schedules.find("every-minute")
        return standing is not None and system.schedules.slots(standing)[1] is not None

    wait(made_up, seconds=60, what="the slot of the minute that the scheduler was away")
    system.schedules.remove_job("every-minute")


def _start_redis(system: WatchedSystem) -> None:
    system.redis.start()


#: By name; each is a thing that an operator is woken for.
TROUBLES: Mapping[str, Trouble] = {
    "dead workers": Trouble(
        make=_kill_workers,
        mend=lambda system: system.start("workers"),
        fires=frozenset({"NomadWorkerDown", "NomadNoWorkers", "NomadQueueUnserved"}),
        recovering=frozenset({"NomadWorkerLost"}),
    ),
    "stopped scheduler": Trouble(
        make=_stop_scheduler,
        mend=_start_scheduler,
        fires=frozenset({"NomadSchedulerSilent", "NomadScheduleLate"}),
    ),
    "backlog": Trouble(
        make=lambda system: _add(system, 4_000, seconds=0.05),
        # Its workers work it off.
        mend=lambda system: None,
        fires=frozenset({"NomadBacklog"}),
    ),
    "failing job type": Trouble(
        make=lambda system: _add(system, 30, fail=True),
        # Those that come after it complete.
        mend=lambda system: _add(system, 60),
        fires=frozenset({"NomadFailureRateHigh"}),
    ),
    "redis down": Trouble(
        make=_kill_redis,
        mend=_start_redis,
        fires=frozenset({"NomadCollectorFailing"}),
    ),
}
