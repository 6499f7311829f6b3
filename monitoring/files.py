"""The generated files, which are committed and which Grafana and Prometheus read."""

from __future__ import annotations

import json
from pathlib import Path

from nomad_actors import thresholds

from .alerts import files as alerts
from .alerts.rule import RUNBOOK
from .dashboards.overview import overview
from .dashboards.panels import Json
from .dashboards.queue import queue
from .dashboards.schedules import schedules

COMMITTED = Path(__file__).resolve().parents[1] / "grafana"
#: The text of each file by its path in that directory.
Files = dict[Path, str]
_GENERATED = ("alerts/*.yml", "dashboards/*.json")


def texts(*, factor: float = 1.0, runbook: str = RUNBOOK) -> Files:
    """Return every file; a `factor` below 1 shortens all durations. Raises `ValueError` if it is not above 0."""
    found = {Path("alerts") / name: text for name, text in alerts.texts(factor=factor, runbook=runbook).items()}
    for each in dashboards(thresholds.table(factor)):
        text = json.dumps(each, indent=2, sort_keys=True, ensure_ascii=False)
        found[Path("dashboards") / f"{each['uid']}.json"] = f"{text}\n"
    return found


def dashboards(table: thresholds.Table) -> list[Json]:
    """Return every dashboard with the thresholds of the table."""
    return [build(table).as_json() for build in (overview, queue, schedules)]


def write(directory: Path, files: Files) -> None:
    """Write the files, and remove generated files that are not among them."""
    for path in _existing(directory) - files.keys():
        (directory / path).unlink()
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")


def differing(directory: Path, files: Files) -> list[Path]:
    """Return the files that are missing, extra or out of date."""
    existing = {path: (directory / path).read_text(encoding="utf-8") for path in _existing(directory)}
    return sorted(path for path in existing.keys() | files.keys() if existing.get(path) != files.get(path))


def _existing(directory: Path) -> set[Path]:
    return {path.relative_to(directory) for pattern in _GENERATED for path in directory.glob(pattern)}
