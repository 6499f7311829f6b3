"""Puts panels in rows, and rows, variables and links together to a dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .panels import DATASOURCE, Json, Panel, panel_id

COLUMNS = 24
#: That of Grafana 11.6, and of 12 until 12.2; a later one reads and raises it by itself.
SCHEMA_VERSION = 41
#: What the dashboards' links to each other go by.
TAG = "nomad"


@dataclass(frozen=True)
class Row:
    """A headline and the panels below it, set from left to right and then on the next line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A choice at the top of the dashboard: the values of a label, several of them, all to begin with."""

    name: str
    label: str
    series: str
    #: The label that the values are of, where it is not the variable's name.
    of: str = ""

    def as_json(self) -> Json:
        """Return the variable; its values are asked for anew whenever the time range changes."""
        question = f"label_values({self.series}, {self.of or self.name})"
        return {
            "allValue": ".+",
            "current": {"text": ["All"], "value": ["$__all"]},
            "datasource": DATASOURCE,
            "hide": 0,
            "includeAll": True,
            "label": self.label,
            "multi": True,
            "name": self.name,
            "options": [],
            "query": {"query": question, "refId": self.name},
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "type": "query",
        }


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard by its stable `uid`, which is the name of its file too."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    def as_json(self) -> Json:
        """Return Grafana's dashboard.

        Raises `ValueError` naming the titles of two panels that would have one id.
        """
        panels = list(_placed(self.rows))
        _check_ids(panels)
        return {
            "annotations": {"list": [_BUILT_IN_ANNOTATIONS]},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [_TO_THE_OTHERS],
            "panels": panels,
            "refresh": "30s",
            "schemaVersion": SCHEMA_VERSION,
            "tags": [TAG],
            "templating": {"list": [_DATASOURCE_VARIABLE, *(each.as_json() for each in self.variables)]},
            "time": {"from": "now-3h", "to": "now"},
            "timepicker": {},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    top = 0
    for row in rows:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        headline = {"collapsed": False, "gridPos": place, "panels": [], "title": row.title, "type": "row"}
        yield {**headline, "id": panel_id(f"row: {row.title}")}
        top += 1
        left = height = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, height = 0, top + height, 0
            yield {**panel.as_json(), "gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top}}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _check_ids(panels: Sequence[Json]) -> None:
    seen: dict[int, str] = {}
    for panel in panels:
        if panel["id"] in seen:
            raise ValueError(f"{seen[panel['id']]!r} and {panel['title']!r} would have one id: rename one of them")
        seen[panel["id"]] = panel["title"]


_BUILT_IN_ANNOTATIONS: Json = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}

_DATASOURCE_VARIABLE: Json = {
    "current": {},
    "hide": 0,
    "includeAll": False,
    "label": "Data Source",
    "multi": False,
    "name": "datasource",
    "options": [],
    "query": "prometheus",
    "refresh": 1,
    "regex": "",
    "type": "datasource",
}

_TO_THE_OTHERS: Json = {
    "asDropdown": False,
    "icon": "external link",
    "includeVars": True,
    "keepTime": True,
    "tags": [TAG],
    "targetBlank": False,
    "title": "EVE Nomad",
    "tooltip": "The other dashboards of EVE Nomad, at the same time range",
    "type": "dashboards",
    "url": "",
}
