"""The files that Prometheus reads, generated from the table of thresholds."""

from __future__ import annotations

import yaml

from nomad_actors import thresholds

from . import esi, failures, missing, queues, schedules, services, slowness
from .rule import RUNBOOK, Group

_HEADER = """\
# Written by `make monitoring` from nomad_actors/thresholds.py and monitoring/alerts: change those, then run it.
"""


def all_groups(table: thresholds.Table) -> dict[str, list[Group]]:
    """Return the groups of each file, by the file's name."""
    modules = (failures, slowness, queues, schedules, services, esi)
    found = {module.__name__.rpartition(".")[2]: module.groups(table) for module in modules}
    return {**found, "missing": missing.groups(table, [group for groups in found.values() for group in groups])}


def texts(table: thresholds.Table | None = None, *, factor: float = 1.0, runbook: str = RUNBOOK) -> dict[str, str]:
    """Return the text of each file by its name; a `factor` below 1 shortens all durations.

    `table` defaults to the thresholds scaled by the factor. Raises `ValueError` if the factor is not above 0.
    """
    found = all_groups(table or thresholds.table(factor))
    return {f"{name}.yml": _text(groups, factor, runbook) for name, groups in found.items()}


class _Dumper(yaml.SafeDumper):
    """Writes multi-line text as a block, and no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def _text(groups: list[Group], factor: float, runbook: str) -> str:
    document = {"groups": [group.as_yaml(factor, runbook) for group in groups]}
    note = "" if factor == 1 else f"# All durations x {factor:g}; names keep the real windows.\n"
    return _HEADER + note + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
