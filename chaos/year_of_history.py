"""A year of history is collected by processes that are killed, from an ESI that fails, with long absences.

Every week each data type of each character is collected. Meanwhile 8 % of the tasks meet a fault of ESI or SSO, pages
turn over while they are read, and processes are killed at random moments. Once nobody collects anything for ten days,
and some characters are not collected for seven weeks, which is longer than ESI keeps a journal.

Then each table is compared with the sandbox's world: what was offered by a response that was read to its end must be
stored as it was, nothing else may be, and what is missing must not be claimed to be complete.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import redis

from nomad_actors.app import App, create_app
from nomad_actors.clock import ManualClock
from nomad_actors.esi.limits.keys import key
from nomad_actors.jobs.historical_data import DataType
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.parent import end_with_parent
from sandbox.clock import SandboxClock
from sandbox.fault_kinds import KINDS
from sandbox.routes import PAGE_ROWS
from sandbox.serve import SandboxServer

from .history_truth import DAY_S, Collected, Comparison, Truth
from .refreshing_process import settings_of

START_S = 1_785_542_400  # 2026-08-01, after the compatibility date
WEEK_DAYS, OUTAGE_DAYS, ABSENCE_DAYS = 7, 10, 49
FAULT_SHARE, KILL_SHARE, TURNOVER_SHARE = 0.08, 0.04, 0.1
#: Every so many-th character is away for a long time.
AWAY_EVERY = 4
TRIES = 60
#: Those without a long wait. An empty list is a valid response that a program must believe.
FAULTS = tuple(sorted(name for name, fault in KINDS.items() if "hang_s" not in fault and name != "empty-list"))
ROUTES = ("*/wallet/journal", "*/wallet/transactions", "*/orders", "*/orders/history", "*/industry/jobs", "*/skills")


@dataclass(frozen=True)
class Plan:
    """How much is collected: the year of 50 characters takes an hour."""

    characters: int
    days: int

    @classmethod
    def of(cls, seconds: float) -> Plan:
        return cls(50, 365) if seconds >= 600 else cls(max(2, min(int(seconds / 10), 20)), 105)


@contextmanager
def running_redis(directory: Path) -> Iterator[LocalRedis]:
    """Run a Redis for the limits of ESI and SSO."""
    server = LocalRedis(directory / "redis").start()
    try:
        yield server
    finally:
        server.stop()


class Collector:
    """The process that collects, and is replaced whenever it is killed."""

    def __init__(self, config: dict[str, Any], clock: SandboxClock) -> None:
        self._config = config
        self._redis = redis.Redis.from_url(config["redis"])
        self._clock = clock
        self.kills = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def run(self, task: dict[str, Any], *, kill_after_seconds: float | None = None) -> dict[str, Any] | None:
        """Return how a task ended; None if the process was killed before it said so."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps({**task, "now_ms": int(self._clock.now() * 1000)}), file=process.stdin, flush=True)
        killer = None
        if kill_after_seconds is not None:
            killer = threading.Timer(kill_after_seconds, process.kill)
            killer.start()
        line = process.stdout.readline()
        if killer is not None:
            killer.join()
            process.communicate()
            self.kills, self._process = self.kills + 1, None
            self._end_flights()
        assert line or killer is not None, "the collecting process ended by itself"
        return json.loads(line) if line.endswith("\n") else None

    def _end_flights(self) -> None:
        """Let the next process take over; in a worker it is the same job, which goes on with its own flight."""
        for name in self._redis.scan_iter(match=key("flight", "*")):
            self._redis.delete(name)

    def _start(self) -> subprocess.Popen[str]:
        config = json.dumps({**self._config, "now_ms": int(self._clock.now() * 1000)})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.history_collector", config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )
        return self._process


class Year:
    """Collects everything that the plan has, task after task."""

    def __init__(self, sandbox: SandboxServer, collector: Collector, app: App, draw: random.Random) -> None:
        self._sandbox = sandbox
        self._collector = collector
        self._app = app
        self._draw = draw
        self.collected = Collected()
        self.counts: Counter[str] = Counter()

    @property
    def now_s(self) -> int:
        return int(self._sandbox.clock.now())

    def log_in(self, character_id: int | None = None) -> None:
        """Save the logins of all characters, or of the one whose token was lost, as its player would."""
        for login in self._sandbox.logins():
            if character_id in (None, login["character_id"]):
                names = ("character_id", "user_id", "name", "owner_hash", "scopes", "refresh_token")
                self._app.store.logins.save(**{name: login[name] for name in names})

    def live(self, days: int) -> None:
        """Collect every week; once all are away, and some characters for longer."""
        outage, absence = days // 3, range(days // 2, days // 2 + ABSENCE_DAYS)
        day = 0
        while day <= days:
            self._collect_all(absent=AWAY_EVERY if day in absence else 0)
            step = OUTAGE_DAYS if day <= outage < day + WEEK_DAYS else WEEK_DAYS
            self._sandbox.advance(step * DAY_S + self._draw.randrange(-DAY_S, DAY_S))
            day += step
        self._collect_all(absent=0)

    def _collect_all(self, *, absent: int) -> None:
        logins = [each for number, each in enumerate(self._sandbox.logins()) if not absent or number % absent]
        tasks = [(login, data_type) for login in logins for data_type in get_args(DataType)]
        self._draw.shuffle(tasks)
        for login, data_type in tasks:
            self._collect(login["character_id"], login["user_id"], data_type)

    def _collect(self, character_id: int, user_id: int, data_type: str) -> None:
        task = {"character_id": character_id, "user_id": user_id, "data_type": data_type}
        if self._draw.random() < FAULT_SHARE:
            self._cause_fault()
        for _ in range(TRIES):
            began_s = self.now_s
            ended = self._run(task)
            if ended is None:
                continue
            if "collected" in ended:
                self.collected.add(character_id, data_type, began_s)
                break
            if "failed" in ended:
                self.counts["failed"] += 1
                self._log_in_if_lost(character_id)
                break
            self._sandbox.advance(ended["later_seconds"] + 1)
        else:
            raise AssertionError(f"{data_type} of {character_id} was not collected in {TRIES} attempts: {ended}")
        self._sandbox.parts.faults.clear()

    def _run(self, task: dict[str, Any]) -> dict[str, Any] | None:
        turnover = None
        if self._draw.random() < TURNOVER_SHARE:
            turnover = threading.Timer(self._draw.uniform(0, 0.2), self._sandbox.advance, [self._draw.randrange(4_000)])
            turnover.start()
        kill_after_seconds = self._draw.uniform(0, 0.4) if self._draw.random() < KILL_SHARE else None
        ended = self._collector.run(task, kill_after_seconds=kill_after_seconds)
        if turnover is not None:
            turnover.join()
        return ended

    def _cause_fault(self) -> None:
        kind = self._draw.choice(FAULTS)
        path = str(KINDS[kind].get("path") or self._draw.choice(ROUTES))
        self._sandbox.fail(path, kind=kind)
        self.counts["faults"] += 1

    def _log_in_if_lost(self, character_id: int) -> None:
        character = self._app.store.logins.character(character_id)
        if character is not None and character.state != "active":
            self.counts["logins"] += 1
            self.log_in(character_id)


def year_of_history(draw: random.Random, seconds: float, database_url: str | None = None) -> str:
    """Collect, compare, and return what was seen; a difference raises `AssertionError`."""
    plan = Plan.of(seconds)
    clock = SandboxClock(frozen_at_s=START_S)
    with (
        tempfile.TemporaryDirectory(prefix="nomad-history-") as name,
        running_redis(Path(name)) as server,
        SandboxServer(characters=plan.characters, clock=clock, page_rows=PAGE_ROWS // 5) as sandbox,
    ):
        config = {
            "redis": server.url,
            "database": database_url or f"sqlite:///{name}/nomad.db",
            "directory": name,
            "sandbox": sandbox.base_url,
        }
        app = create_app(settings_of(config, 0), clock=ManualClock(START_S * 1000))
        with Collector(config, clock) as collector:
            year = Year(sandbox, collector, app, draw)
            year.log_in()
            year.live(plan.days)
        compared = _compare(year, app, sandbox, plan)
        assert collector.kills, "no process was killed"
        assert year.counts["faults"], "no response was faulty"
        app.close()
    return (
        f"{plan.characters} characters, {plan.days} days: {compared.rows} rows compared, {compared.lost} never offered "
        f"and all in {compared.holes} marked holes; {year.counts['faults']} faults, {collector.kills} kills, "
        f"{year.counts['logins']} lost logins"
    )


def _compare(year: Year, app: App, sandbox: SandboxServer, plan: Plan) -> Comparison:
    world = sandbox.parts.world
    truth = Truth(world, year.collected, began_s=START_S, ended_s=year.now_s)
    total = Comparison()
    for number, character in enumerate(world.characters):
        found = truth.compare(app.store, character, may_have_holes=number % AWAY_EVERY == 0)
        total.rows, total.lost, total.holes = (
            total.rows + found.rows,
            total.lost + found.lost,
            total.holes + found.holes,
        )
        total.faults += found.faults
    assert not total.faults, f"{len(total.faults)} differences, such as: " + "; ".join(total.faults[:5])
    assert total.lost, "nothing was ever out of reach: the absences were too short to prove anything"
    assert total.holes, "no hole is marked"
    return total
