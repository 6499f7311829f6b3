"""The dashboards as the files that are in review and that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path

from nomad_actors.thresholds import Table

from .overview import overview
from .panels import Json
from .queue import queue
from .schedules import schedules

DIRECTORY = Path(__file__).parents[2] / "grafana" / "dashboards"


def dashboards(table: Table) -> list[Json]:
    """Return every dashboard with the limits of the table."""
    return [made(table).as_json() for made in (overview, queue, schedules)]


def texts(table: Table) -> dict[str, str]:
    """Return what each file says, by its name; written the same way each time."""
    return {
        f"{each['uid']}.json": json.dumps(each, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for each in dashboards(table)
    }


def stale(directory: Path, wanted: dict[str, str]) -> list[str]:
    """Return the names of files that are missing, say something else, or are not wanted."""
    there = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


def write(directory: Path, wanted: dict[str, str]) -> None:
    """Write the files, and remove dashboards that are no longer wanted."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (directory / name).write_text(text, encoding="utf-8")
