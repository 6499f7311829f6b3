"""What is generated, as the files that are in review and that Grafana and Prometheus read."""

from __future__ import annotations

from pathlib import Path

from nomad_actors import thresholds

from .alerts import files as alerts
from .alerts.rule import RUNBOOK
from .dashboards import files as dashboards

COMMITTED = Path(__file__).resolve().parents[1] / "grafana"
#: Text by the file's path within that directory.
Files = dict[Path, str]
_GENERATED = ("alerts/*.yml", "dashboards/*.json")


def texts(*, factor: float = 1.0, runbook: str = RUNBOOK) -> Files:
    """Return every file; in fast motion with a `factor` below 1. Raises `ValueError` for one that is not above 0."""
    found = {Path("alerts") / name: text for name, text in alerts.texts(factor=factor, runbook=runbook).items()}
    shown = dashboards.texts(thresholds.table(factor))
    return found | {Path("dashboards") / name: text for name, text in shown.items()}


def write(directory: Path, files: Files) -> None:
    """Write the files, and remove generated ones that are not among them."""
    for path in _there(directory) - files.keys():
        (directory / path).unlink()
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")


def differing(directory: Path, files: Files) -> list[Path]:
    """Return the files that are missing, too many, or not as they would be written."""
    there = {path: (directory / path).read_text(encoding="utf-8") for path in _there(directory)}
    return sorted(path for path in there.keys() | files.keys() if there.get(path) != files.get(path))


def _there(directory: Path) -> set[Path]:
    return {path.relative_to(directory) for pattern in _GENERATED for path in directory.glob(pattern)}
