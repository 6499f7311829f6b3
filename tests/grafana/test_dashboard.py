"""The dashboard is well formed, explains itself, and asks for nothing that we do not export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import promql_parser
import pytest

from nomad_actors.metrics.collector import with_queues
from nomad_actors.metrics.definitions import OUTCOMES

from .conftest import COUNTS, DASHBOARD, ROOT, do_some_work, filled_in

#: Grafana's names of the units that we show.
UNITS = {"short", "none", "s", "ops", "reqps", "bytes", "percentunit", "bool_yes_no"}
#: Prometheus makes these itself, for each target.
OF_PROMETHEUS = {"up": {"job", "instance"}}


def parts(expression: Any, inside: str = "") -> Iterator[tuple[Any, str]]:
    """Yield every part of a parsed expression with the name of the function that it stands in."""
    yield expression, inside
    match expression:
        case promql_parser.Call():
            for argument in expression.args:
                yield from parts(argument, expression.func.name)
        case promql_parser.BinaryExpr():
            yield from parts(expression.lhs, inside)
            yield from parts(expression.rhs, inside)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from parts(expression.expr, inside)
        case promql_parser.MatrixSelector():
            yield from parts(expression.vector_selector, inside)


def selectors(expression: str) -> list[tuple[Any, str]]:
    """Return the selectors of an expression, each with the function that it stands in."""
    found = parts(promql_parser.parse(filled_in(expression)))
    return [(part, inside) for part, inside in found if isinstance(part, promql_parser.VectorSelector)]


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The samples that our services export, with their labels."""
    do_some_work()
    labels: dict[str, set[str]] = {}
    for family in with_queues(lambda: COUNTS).collect():
        for sample in family.samples:
            labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    return labels | OF_PROMETHEUS


def test_the_file_is_written_in_one_stable_way(dashboard):
    assert DASHBOARD.read_text() == json.dumps(dashboard, indent=2, sort_keys=True) + "\n"


def test_it_can_be_provisioned(dashboard):
    assert dashboard["id"] is None
    assert re.fullmatch(r"[a-z-]{3,40}", dashboard["uid"])
    assert dashboard["editable"] is False
    assert dashboard["schemaVersion"] >= 36


def test_panel_ids_differ_and_panels_do_not_overlap(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    for a, b in combinations(boxes, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)


def test_the_data_source_is_a_variable_that_every_panel_and_query_uses(dashboard, panels):
    (variable,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data Source", "prometheus")
    for used in [*panels, *(t for p in panels for t in p["targets"])]:
        assert used["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_take_several_values_and_follow_the_time_range(dashboard):
    queries = [v for v in dashboard["templating"]["list"] if v["type"] == "query"]
    assert {v["name"] for v in queries} == {"queue", "actor"}
    for variable in queries:
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["refresh"] == 2


def test_every_panel_says_what_it_shows_and_in_which_unit(panels):
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_every_metric_and_label_that_is_asked_for_is_exported(expressions, exported):
    for title, expression in expressions:
        for selector, _ in selectors(expression):
            assert selector.name in exported, f"{title}: {selector.name}"
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= exported[selector.name], f"{title}: {asked}"


def test_variables_ask_for_labels_that_are_exported(dashboard, exported):
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            ((parsed, _),) = selectors(selector)
            assert label in exported[parsed.name]


def test_outcomes_that_are_asked_for_exist(expressions):
    asked = {value for _, e in expressions for value in re.findall(r'outcome=~?"([^"]+)"', e)}
    assert {word for value in asked for word in value.split("|")} <= set(OUTCOMES)


def test_counters_are_only_seen_as_rates_and_rates_fit_the_scrapes(expressions):
    for title, expression in expressions:
        for selector, inside in selectors(expression):
            if selector.name.endswith(("_total", "_bucket")):
                assert inside in ("rate", "increase"), f"{title}: {selector.name}"
        # A fixed window is allowed where the title names it.
        for window in re.findall(r"\[([^\]]+)\]", expression):
            assert window == "$__rate_interval" or window == "1h", f"{title}: {window}"


def test_the_share_of_failures_is_not_taken_of_nothing(expressions):
    for title, expression in expressions:
        if "/" in expression:
            assert re.search(r"/ \(.+ > 0\)$", expression), title


def test_the_queue_and_job_type_that_are_chosen_hold_in_every_panel_about_jobs(expressions):
    for title, expression in expressions:
        for selector, _ in selectors(expression):
            if selector.name.startswith("nomad_job"):
                assert {"queue", "actor"} <= {m.name for m in selector.matchers.matchers}, title
            elif selector.name.startswith("nomad_queue"):
                assert "queue" in {m.name for m in selector.matchers.matchers}, title


def test_grafana_is_told_the_scrape_interval_of_prometheus_and_where_the_dashboard_lies():
    interval = re.search(r"scrape_interval: (\S+)", (ROOT / "prometheus.yml").read_text())[1]
    source = (ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text()
    assert f"timeInterval: {interval}" in source
    assert "path: /etc/grafana/dashboards" in (ROOT / "grafana/provisioning/dashboards/nomad.yml").read_text()
