"""`make bench`: every scenario on every system, interleaved, medians with their spread and the ratio to Dramatiq.

`ASSERT=1 make bench` (or `--assert`) fails if a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nomad_actors.processes.local_redis import LocalRedis

from .scenarios import SCENARIOS
from .systems import OURS, STOCK, SYSTEMS, UNWATCHED, System

#: Measured values of all repeats, by scenario and system.
Results = dict[str, dict[str, list[float]]]

#: Pairs of drains with and without metrics and log line.
WATCHED = "watched"
WATCHING = "metrics and log line, % of the drain"
MIN_PAIRS = 7

#: Targets: an absolute limit for our system, or a ratio to stock Dramatiq.
TARGETS: dict[str, tuple[str, float]] = {
    "drain, jobs/s": (">= x stock", 3.0),
    "add in one call, jobs/s": (">=", 30_000.0),
    "urgent job behind 20,000, ms": ("<=", 20.0),
    "pick-up at 20/s, p50 ms": ("<=", 3.0),
    "pick-up at 20/s, p99 ms": ("<=", 10.0),
    "idle, commands/s": ("<=", 5.0),
    "memory, bytes per waiting job": ("<=", 570.0),
    "memory, bytes per kept job": ("<=", 700.0),
    "delayed 5 to 15 s, p50 ms late": ("<=", 5.0),
    "delayed, p99 ms late": ("<=", 40.0),
    "304, bare requests per job": ("<=", 2.5),
    "limiter, reserve, p50 µs": ("<=", 100.0),
    "limiter, settle, p50 µs": ("<=", 100.0),
    "history, rows/s of a collection": (">=", 20_000.0),
    "history, MiB more for an upsert": ("<=", 16.0),
    WATCHING: ("<=", 10.0),
}


def main() -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=sorted([*SCENARIOS, WATCHED]), action="append")
    parser.add_argument("--assert", dest="check", action="store_true", default=os.environ.get("ASSERT") == "1")
    arguments = parser.parse_args()
    scenarios = arguments.only or [*SCENARIOS, WATCHED]
    results = measure([name for name in scenarios if name != WATCHED], arguments.repeats)
    if WATCHED in scenarios:
        results[WATCHING][OURS.name] = cost_of_watching(max(arguments.repeats, MIN_PAIRS))
    show(results)
    missed = [name for name in results if not _met(name, results[name])]
    for name in missed:
        print(f"target missed: {name} {TARGETS[name][0]} {TARGETS[name][1]}")
    return 1 if missed and arguments.check else 0


def measure(scenarios: Sequence[str], repeats: int) -> Results:
    """Run every scenario on every system `repeats` times, in rotating order of systems."""
    results: Results = defaultdict(lambda: defaultdict(list))
    with _own_redis() as url:
        for scenario, repeat in itertools.product(scenarios, range(repeats)):
            for system in SYSTEMS[repeat % len(SYSTEMS) :] + SYSTEMS[: repeat % len(SYSTEMS)]:
                for name, value in _child(system, scenario, url).items():
                    results[name][system.name].append(value)
                print(f"{scenario}: repeat {repeat + 1} of {repeats}, {system.name}", file=sys.stderr)
    return results


def cost_of_watching(pairs: int) -> list[float]:
    """Return how many per cent metrics and log line slow the drain, for pairs of runs in alternating order."""
    costs = []
    with _own_redis() as url:
        for pair in range(pairs):
            order = (OURS, UNWATCHED) if pair % 2 else (UNWATCHED, OURS)
            speeds = {each.name: _child(each, "drain", url)["drain, jobs/s"] for each in order}
            costs.append(100 * (1 - speeds[OURS.name] / speeds[UNWATCHED.name]))
            print(f"watched: pair {pair + 1} of {pairs}, {costs[-1]:.1f} %", file=sys.stderr)
    return costs


@contextmanager
def _own_redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory)).start()
        try:
            yield server.url
        finally:
            server.stop()


def _child(system: System, scenario: str, url: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.scenarios", system.name, scenario, url],
        env={**os.environ, **system.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{scenario} on {system.name} failed:\n{done.stderr[-3000:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def show(results: Results) -> None:
    """Print medians with their spread, and our ratio to stock Dramatiq."""
    table = Table(title="medians (lowest–highest)")
    table.add_column("")
    for system in SYSTEMS:
        table.add_column(system.name, justify="right")
    table.add_column(f"{OURS.name} / {STOCK.name}", justify="right")
    for name, by_system in results.items():
        cells = [_cell(by_system[system.name]) for system in SYSTEMS]
        ratio = f"{_ratio(by_system):.2f}" if by_system[STOCK.name] else "–"
        table.add_row(name, *cells, ratio)
    Console(width=140).print(table)


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{statistics.median(values):,.1f} ({min(values):,.1f}–{max(values):,.1f})"


def _ratio(by_system: dict[str, list[float]]) -> float:
    return statistics.median(by_system[OURS.name]) / statistics.median(by_system[STOCK.name])


def _met(name: str, by_system: dict[str, list[float]]) -> bool:
    how, bound = TARGETS.get(name, ("", 0.0))
    if how == ">= x stock":
        return _ratio(by_system) >= bound
    if how == ">=":
        return statistics.median(by_system[OURS.name]) >= bound
    return how != "<=" or statistics.median(by_system[OURS.name]) <= bound


if __name__ == "__main__":
    sys.exit(main())
