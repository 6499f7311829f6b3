"""The kinds of panels in our dashboards, as Grafana's JSON.

Field names and values are those of Grafana's dashboard model, schema version 41 (Grafana 11.6 and later).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .limits import NONE, Limits

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}

#: The text of a panel without samples: unknown is not zero.
NO_DATA = "no data"


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query and the legend of its series: a template of labels, such as `{{queue}}`."""

    expr: str
    legend: str
    instant: bool = False
    table: bool = False

    def as_json(self, number: int) -> Json:
        """Return the query as the panel's target of that number."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": " ".join(self.expr.split()),
            "format": "table" if self.table else "time_series",
            "instant": self.instant,
            "legendFormat": self.legend,
            "range": not self.instant,
            "refId": chr(ord("A") + number),
        }


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel without its position; `width` in columns (of 24), `height` in rows of 30 pixels."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    kind: str
    width: int
    height: int
    limits: Limits = NONE
    #: Limits of single series (or columns), by their names.
    limits_by_name: Mapping[str, Limits] = field(default_factory=dict)
    no_data: str = NO_DATA
    options: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()

    def as_json(self) -> Json:
        """Return Grafana's panel; its id comes from its title, so other panels' changes do not change it."""
        limited = [_override(name, "thresholds", limits.as_json()) for name, limits in self.limits_by_name.items()]
        found: Json = {
            "datasource": DATASOURCE,
            "description": " ".join(self.description.split()),
            "fieldConfig": {
                "defaults": {
                    "mappings": [],
                    "noValue": self.no_data,
                    "thresholds": self.limits.as_json(),
                    "unit": self.unit,
                    **self.defaults,
                },
                "overrides": [*self.overrides, *limited],
            },
            "id": panel_id(self.title),
            "options": self.options,
            "targets": [query.as_json(number) for number, query in enumerate(self.queries)],
            "title": self.title,
            "type": self.kind,
        }
        if self.transformations:
            found["transformations"] = list(self.transformations)
        return found


def panel_id(title: str) -> int:
    """Return a panel's id, which depends only on its title."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1


def stat(
    title: str, description: str, expr: str, *, unit: str = "short", legend: str = "", width: int = 4, **more: Any
) -> Panel:
    """Return a panel with one large number: the current value, never an old one."""
    words: Mapping[int, tuple[str, str]] = more.pop("words", {})
    return Panel(
        title=title,
        description=description,
        queries=[Query(expr=expr, legend=legend or title, instant=True)],
        unit=unit,
        kind="stat",
        width=width,
        height=4,
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "value_and_name" if "{{" in legend else "auto",
            "wideLayout": True,
        },
        defaults={"color": {"mode": "thresholds"}, "mappings": _mappings(words)},
        **more,
    )


def graph(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str,
    width: int = 12,
    limits: Limits = NONE,
    stacked: bool = False,
    **more: Any,
) -> Panel:
    """Return lines over time, with the limits as dashed lines and gaps for missing samples."""
    custom: Json = {
        "fillOpacity": 20 if stacked else 0,
        "lineWidth": 1,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if limits.steps else "off"},
    }
    return Panel(
        title=title,
        description=description,
        queries=queries,
        unit=unit,
        kind="timeseries",
        width=width,
        height=8,
        limits=limits,
        options={
            "legend": {
                "calcs": ["mean", "max", "lastNotNull"],
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        defaults={"color": {"mode": "palette-classic"}, "custom": custom, **more.pop("defaults", {"min": 0})},
        **more,
    )


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: a query whose results are joined with the other columns' by their label."""

    title: str
    expr: str
    unit: str
    limits: Limits = NONE
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)


def table_of(
    title: str, description: str, by: str, columns: Sequence[Column], *, width: int = 24, height: int = 8
) -> Panel:
    """Return a table with a row for each value of the label `by`, joined from the columns' queries."""
    queries = [Query(expr=each.expr, legend=each.title, instant=True, table=True) for each in columns]
    values = {f"Value #{chr(ord('A') + number)}": each.title for number, each in enumerate(columns)}
    overrides = [
        {
            "matcher": {"id": "byName", "options": each.title},
            "properties": [
                {"id": "unit", "value": each.unit},
                {"id": "mappings", "value": _mappings(each.words)},
                {"id": "thresholds", "value": each.limits.as_json()},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
            ],
        }
        for each in columns
    ]
    organize: Json = {
        "excludeByName": {"Time": True},
        "includeByName": {},
        "indexByName": {by: 0, **{name: number for number, name in enumerate(values, start=1)}},
        "renameByName": {by: by.capitalize(), **values},
    }
    return Panel(
        title=title,
        description=description,
        queries=queries,
        unit="short",
        kind="table",
        width=width,
        height=height,
        options={
            "cellHeight": "sm",
            "footer": {"countRows": False, "reducer": ["sum"], "show": False},
            "showHeader": True,
            "sortBy": [{"desc": False, "displayName": by.capitalize()}],
        },
        defaults={"color": {"mode": "thresholds"}, "custom": {"align": "auto", "inspect": False}},
        overrides=overrides,
        transformations=[{"id": "merge", "options": {}}, {"id": "organize", "options": organize}],
    )


def _override(name: str, what: str, value: object) -> Json:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": what, "value": value}]}


def _mappings(words: Mapping[int, tuple[str, str]]) -> list[Json]:
    """Return Grafana's mappings from values to texts and colours."""
    if not words:
        return []
    options = {
        str(value): {"color": color, "index": index, "text": text}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return [{"options": options, "type": "value"}]
