"""The files that Prometheus reads, made from the table."""

from __future__ import annotations

from pathlib import Path

import yaml

from nomad_actors import thresholds

from . import jobs, missing, queues, schedules, services
from .rule import RUNBOOK, Group

COMMITTED = Path(__file__).resolve().parents[2] / "grafana" / "alerts"

_HEADER = """\
# Written by `python -m monitoring` from nomad_actors/thresholds.py and monitoring/alerts: change those, then run it.
"""


def all_groups(table: thresholds.Table) -> dict[str, list[Group]]:
    """Return every group by the name of the file that it stands in."""
    found = {module.__name__.rpartition(".")[2]: module.groups(table) for module in (jobs, queues, schedules, services)}
    return {**found, "missing": missing.groups(table, [group for groups in found.values() for group in groups])}


def texts(table: thresholds.Table | None = None, *, factor: float = 1.0, runbook: str = RUNBOOK) -> dict[str, str]:
    """Return the text of each file by its name; in fast motion with a `factor` below 1.

    `table` is what the factor gives unless it is told. Raises `ValueError` for a factor that is not above 0.
    """
    found = all_groups(table or thresholds.table(factor))
    return {f"{name}.yml": _text(groups, factor, runbook) for name, groups in found.items()}


def write(directory: Path, files: dict[str, str]) -> None:
    """Write the files into a directory, and remove rule files that are none of them."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.yml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")


def differing(directory: Path, files: dict[str, str]) -> list[str]:
    """Return the names of the files that are missing, too many, or not what was written."""
    there = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.yml")}
    return sorted(name for name in {*there, *files} if there.get(name) != files.get(name))


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, and nothing as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def _text(groups: list[Group], factor: float, runbook: str) -> str:
    document = {"groups": [group.as_yaml(factor, runbook) for group in groups]}
    fast = "" if factor == 1 else f"# In fast motion: times x {factor:g}, names keep the real windows.\n"
    return _HEADER + fast + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
