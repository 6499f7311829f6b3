"""Runs hostile cases of every kind and checks that the system still works afterwards."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nomad_actors.logs.foreign_text import came_from_outside
from nomad_actors.processes.local_redis import LocalRedis

from .case import Case
from .kinds import KINDS, raw_request
from .served_admin import ServedAdmin
from .system import System, describe_error

MOST_CASES = 10_000
RAW = "raw_request"
#: Cases of each kind per round; cheap kinds have more.
ROUND = {
    "add_job": 30,
    "schedule_job": 10,
    "job": 20,
    "api": 20,
    "page": 10,
    "command": 5,
    "settings": 30,
    "log_line": 40,
    RAW: 15,
}


def hostile(draw: random.Random, seconds: float) -> str:
    """Pass hostile values to every part for some seconds, at most 10,000 cases."""
    seed, end = draw.getrandbits(32), time.monotonic() + seconds
    done: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory) / "redis", ends_with_parent=True).start()
        try:
            while done.total() < MOST_CASES and time.monotonic() < end and len(failures) < 20:
                log_format = ("json", "logfmt")[len(failures) % 2 if not done else done.total() // 180 % 2]
                cases = [Case(seed, kind, done[kind] + each) for kind, count in ROUND.items() for each in range(count)]
                failures += run_cases(cases, server.url, Path(directory), log_format)
                done.update(case.kind for case in cases)
        finally:
            server.stop()
    summary = ", ".join(f"{count} {kind}" for kind, count in done.items())
    assert not failures, f"{len(failures)} of {done.total()} cases ({summary}) failed:\n" + "\n\n".join(failures)
    return f"{done.total()} cases of seed {seed}: {summary}"


def run_cases(cases: Iterable[Case], redis_url: str, directory: Path, log_format: str) -> list[str]:
    """Run cases on one system and check it afterwards; return the failures with the commands that repeat them."""
    failures: list[str] = []
    cases = list(cases)
    with System(redis_url, directory, log_format) as system:
        for case in cases:
            if case.kind == RAW:
                continue
            try:
                KINDS[case.kind](case, system)
                system.check_alive()
            except BaseException as error:
                # Including SystemExit, which would silently end the proof; but Ctrl-C comes from outside.
                if came_from_outside(error):
                    raise
                failures.append(f"{case.command}\n{describe_error(error)}")
                system.deaths.clear()
                system.lines.wrong.clear()
                system.conforming.broken.clear()
                if system.dead_threads():
                    # This system no longer works; the next cases use another one.
                    return failures
        for check in (system.settle, system.get_lists, system.run_plain_job, system.check_alive):
            try:
                check()
            except Exception as error:
                failures.append(f"after {_case_range(cases)}: {describe_error(error)}")
    return failures + _run_raw([case for case in cases if case.kind == RAW], system, directory)


def _run_raw(cases: list[Case], system: System, directory: Path) -> list[str]:
    if not cases:
        return []
    failures: list[str] = []
    with ServedAdmin(system.environ, directory) as admin:
        for case in cases:
            try:
                raw_request(case, admin)
            except Exception as error:
                failures.append(f"{case.command}\n{describe_error(error)}")
        try:
            admin.check()
        except Exception as error:
            failures.append(f"after {_case_range(cases)}: {describe_error(error)}")
    return failures


def _case_range(cases: list[Case]) -> str:
    return ", ".join(f"{case.kind} {case.number}" for case in cases[:1] + cases[-1:]) + f" (seed {cases[0].seed})"
