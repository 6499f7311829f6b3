"""Combines panels to rows, and rows, variables and links to a dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .panels import DATASOURCE, Json, Panel, panel_id

COLUMNS = 24
#: The version of Grafana 11.6, and of 12 until 12.2; later releases migrate it when they load it.
SCHEMA_VERSION = 41
#: The tag by which the dashboards link to each other.
TAG = "nomad"


@dataclass(frozen=True)
class Row:
    """A row title and its panels, from left to right, then on the next line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A selection of a label's values at the top of the dashboard; initially all."""

    name: str
    label: str
    series: str
    #: The label of the values, if it is not the variable's name.
    of: str = ""

    def as_json(self) -> Json:
        """Return Grafana's variable; its values are queried again whenever the time range changes."""
        query = f"label_values({self.series}, {self.of or self.name})"
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
            "query": {"query": query, "refId": self.name},
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "type": "query",
        }


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard; its stable `uid` is also the name of its file."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    def as_json(self) -> Json:
        """Return Grafana's dashboard. Raises `ValueError`, which names the titles, if two panels have the same id."""
        panels = list(_placed(self.rows))
        _check_ids(panels)
        return {
            "annotations": {"list": [_BUILT_IN_ANNOTATIONS]},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [_LINKS],
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
        position = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        title_row = {"collapsed": False, "gridPos": position, "panels": [], "title": row.title, "type": "row"}
        yield {**title_row, "id": panel_id(f"row: {row.title}")}
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
            raise ValueError(f"{seen[panel['id']]!r} and {panel['title']!r} would have the same id: rename one of them")
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

_LINKS: Json = {
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
