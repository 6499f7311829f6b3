"""The generated files, which are committed and which Grafana and Prometheus read."""

from __future__ import annotations

from pathlib import Path

from nomad_actors import thresholds

from .alerts import files as alerts
from .alerts.rule import RUNBOOK
from .dashboards import files as dashboards

COMMITTED = Path(__file__).resolve().parents[1] / "grafana"
#: The text of each file by its path in that directory.
Files = dict[Path, str]
_GENERATED = ("alerts/*.yml", "dashboards/*.json")


def texts(*, factor: float = 1.0, runbook: str = RUNBOOK) -> Files:
    """Return every file; a `factor` below 1 shortens all durations. Raises `ValueError` if it is not above 0."""
    found = {Path("alerts") / name: text for name, text in alerts.texts(factor=factor, runbook=runbook).items()}
    dashboard_texts = dashboards.texts(thresholds.table(factor))
    return found | {Path("dashboards") / name: text for name, text in dashboard_texts.items()}


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
