"""The dashboards as the files that are in review and that Grafana reads."""

from __future__ import annotations

import json

from nomad_actors.thresholds import Table

from .overview import overview
from .panels import Json
from .queue import queue
from .schedules import schedules


def dashboards(table: Table) -> list[Json]:
    """Return every dashboard with the limits of the table."""
    return [made(table).as_json() for made in (overview, queue, schedules)]


def texts(table: Table) -> dict[str, str]:
    """Return what each file says, by its name; written the same way each time."""
    return {
        f"{each['uid']}.json": json.dumps(each, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for each in dashboards(table)
    }
