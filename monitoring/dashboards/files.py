"""The dashboards as the committed files that Grafana reads."""

from __future__ import annotations

import json

from nomad_actors.thresholds import Table

from .overview import overview
from .panels import Json
from .queue import queue
from .schedules import schedules


def dashboards(table: Table) -> list[Json]:
    """Return every dashboard with the thresholds of the table."""
    return [build(table).as_json() for build in (overview, queue, schedules)]


def texts(table: Table) -> dict[str, str]:
    """Return the text of each file by its name."""
    return {
        f"{each['uid']}.json": json.dumps(each, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for each in dashboards(table)
    }
