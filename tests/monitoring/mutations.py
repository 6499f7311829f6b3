"""Tables with one threshold moved, to see that the tests of the rules notice it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from nomad_actors.thresholds import Table, table

#: What a threshold moves by: more than one evaluation of the tests' coarsest step would hide.
_PERCENT = 10
#: Times that the tests see no finer than this: a `for` in evaluations, the rest at the step of their series.
_COARSE_SECONDS = {
    "slow_window_seconds": 300,
    "slow_baseline_offset_seconds": 300,
    "slow_for_seconds": 300,
    "success_for_seconds": 300,
}


def moved_tables() -> Iterator[tuple[str, Table]]:
    """Yield the table once for each of its numbers and each direction, that number moved a little."""
    for direction in (1, -1):
        for path, moved in _moved(table(), direction, ""):
            yield f"{path} {'up' if direction > 0 else 'down'}", moved


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
        step = max(step, 15, _COARSE_SECONDS.get(name, 0))
        return 300 if name.startswith("success_within") else step
    if name in ("memory_warning_percent", "memory_problem_percent"):
        return 1.5
    return max(1, round(step)) if isinstance(value, int) else step
