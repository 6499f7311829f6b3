"""Checks that promtool's tests fail if a threshold changes: `python -m tests.monitoring.mutations [PART OF A NAME]`.

It moves every number of the table that the rules read, a little up and a little down, and runs the tests on the rules
that come of it: minutes. A sample of them is run with the other tests.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monitoring.alerts.files import texts
from nomad_actors.thresholds import Table, table

HERE = Path(__file__).parent

#: The tests of each file of rules, the quickest first.
_TESTS = {
    "failures.yml": ("burn", "failures", "burn_long", "recorded"),
    "slowness.yml": ("slow_rare", "slow"),
    "queues.yml": ("queues",),
    "schedules.yml": ("schedules",),
    "services.yml": ("services",),
    "esi.yml": ("esi",),
    "missing.yml": ("missing",),
}
#: By how much a threshold moves.
_PERCENT = 10
#: Times that the tests see no finer than this, the step of their series.
_COARSE_SECONDS = {
    "slow_window_seconds": 300,
    "slow_baseline_offset_seconds": 300,
    "slow_for_seconds": 300,
}


def moved_tables() -> Iterator[tuple[str, Table]]:
    """Yield the table once per number and direction, with that number changed a little."""
    for direction in (1, -1):
        for path, moved in _moved(table(), direction, ""):
            yield f"{path} {'up' if direction > 0 else 'down'}", moved


def noticed(moved: Table) -> bool | None:
    """Return whether a test fails with the rules of a changed table; None if no rule has changed."""
    written, real = texts(moved), texts()
    changed = [name for name in written if _without_words(written[name]) != _without_words(real[name])]
    if not changed:
        return None
    with tempfile.TemporaryDirectory() as directory:
        rules = Path(directory) / "grafana" / "alerts"
        rules.mkdir(parents=True)
        for name, text in written.items():
            (rules / name).write_text(text, encoding="utf-8")
        tests = Path(directory) / "tests" / "monitoring"
        tests.mkdir(parents=True)
        return any(_fails(shutil.copy(HERE / f"{test}.yml", tests)) for name in changed for test in _TESTS[name])


def _fails(test: Path) -> bool:
    return subprocess.run(["promtool", "test", "rules", test], capture_output=True).returncode != 0


def _without_words(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "description:" not in line)


def _moved(value: Any, direction: int, path: str) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            for name, each in _moved(getattr(value, field.name), direction, f"{path}.{field.name}"):
                yield name, dataclasses.replace(value, **{field.name: each})
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            for name, each in _moved(part, direction, f"{path}[{index}]"):
                yield name, (*value[:index], each, *value[index + 1 :])
    elif isinstance(value, Mapping):
        for key, part in value.items():
            for name, each in _moved(part, direction, f"{path}[{key}]"):
                yield name, {**value, key: each}
    elif isinstance(value, int | float):
        yield path.lstrip("."), value + direction * _step(path.rpartition(".")[2], value)


def _step(name: str, value: float) -> float:
    step: float = value * _PERCENT / 100
    if name.partition("[")[0].endswith("_seconds"):
        return max(step, 15, _COARSE_SECONDS.get(name, 0))
    if name in ("memory_warning_percent", "memory_problem_percent"):
        return 1.5
    return max(1, round(step)) if isinstance(value, int) else step


def main() -> int:
    """Change each threshold whose name contains the given part; exit with 1 if no test fails for one."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    unnoticed = 0
    for name, moved in moved_tables():
        if part in name and (found := noticed(moved)) is not None:
            unnoticed += not found
            print(f"{'noticed' if found else 'NOT NOTICED'}  {name}", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
