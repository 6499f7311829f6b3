"""The rules of Grafana's dashboard-linter (v0.1.0), and our own: unknown is not shown as zero.

Its rules template-instance and target-instance are left out: every admin reads the same from Redis, and the counts of
several workers are summed. template-job and target-job apply to the dashboard of a queue and job type; on the others
each query names its service where that matters.
"""

from __future__ import annotations

import re

import pytest

from monitoring.alerts.promql import duration
from monitoring.dashboards.limits import in_words
from nomad_actors.broker.endings import Outcome
from nomad_actors.thresholds import ALERTS, DEFAULT

from .conftest import QUERIES, VARIABLES, Query
from .promql import selectors

#: Grafana's names of the units in use.
UNITS = {"short", "none", "s", "ops", "reqps", "bytes", "percentunit"}
#: Metrics of the admin's collector: two admins export the same values.
COLLECTED = (
    "nomad_job_attempts_",
    "nomad_queue_",
    "nomad_schedule_",
    "nomad_schedulers",
    "nomad_redis_",
    "nomad_collector_",
)

each_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.where}: {query.legend}")


def test_the_data_source_is_a_variable_that_every_panel_and_query_uses(dashboard, panels):
    (variable,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data Source", "prometheus")
    variables = [v for v in dashboard["templating"]["list"] if v["type"] == "query"]
    for used in [*variables, *panels, *(t for p in panels for t in p["targets"])]:
        assert used["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_take_several_values_and_follow_the_time_range(dashboard):
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
            assert (variable["refresh"], variable["label"] != "") == (2, True)


def test_each_dashboard_has_the_variables_that_its_queries_use(dashboard, panels):
    has = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {word for p in panels for t in p["targets"] for word in re.findall(r"\$(\w+)", t["expr"])}
    assert used - {"__rate_interval"} == has - {"datasource"}


def test_a_queue_and_job_type_are_chosen_by_service_queue_and_job_type():
    assert [v.label for v in VARIABLES if v.where.startswith("nomad-queue")] == ["job", "queue", "actor"]


def test_a_provisioned_dashboard_is_read_only(dashboard):
    assert dashboard["editable"] is False


def test_every_panel_has_a_description_and_a_unit(panels):
    for panel in panels:
        assert panel["title"]
        assert re.match(r"[A-Z1-9].{10,}\.$", panel["description"]), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends), panel["title"]
        assert len(set(legends)) == len(legends), panel["title"]


@each_query
def test_counters_are_only_used_as_rates(query: Query) -> None:
    for selector in selectors(query.expression):
        if selector.name.endswith(("_total", "_bucket")):
            assert selector.functions[-1] in ("rate", "increase"), selector.name


@each_query
def test_a_rate_uses_the_rate_interval_or_its_text_names_the_window(query: Query) -> None:
    texts = query.panel["title"] + query.panel["description"] + query.legend
    windows = [ALERTS.drain_window_seconds, ALERTS.recovered_window_seconds, ALERTS.poison_window_seconds]
    burns = [burn.long_seconds for burn in ALERTS.burns]
    fixed = {duration(each): in_words(each) for each in [*windows, *burns, DEFAULT.failure_window_seconds]}
    for window in re.findall(r"\[([^\]]+)\]", query.expression):
        assert window == "$__rate_interval" or fixed[window] in texts


@each_query
def test_values_from_redis_are_not_summed_over_admins(query: Query) -> None:
    for selector in selectors(query.expression):
        if selector.name.startswith(COLLECTED):
            aggregations = [each for each in selector.functions if each in ("sum", "count", "avg", "max", "min")]
            assert aggregations[-1] in ("max", "min"), selector.name


@each_query
def test_every_query_uses_the_selected_queue_or_schedule(query: Query) -> None:
    for selector in selectors(query.expression):
        if query.where.startswith("nomad-schedules"):
            assert "schedule" in selector.labels or not selector.name.startswith("nomad_schedule_")
        elif selector.name.startswith(("nomad_queue_", "nomad_job")):
            assert "queue" in selector.labels


def test_counts_of_processes_use_the_selected_service_and_job_type():
    # Except the queries of the alerts, which judge whole queues. Redis' own counts belong to no service.
    asked = [
        (query.where, selector)
        for query in QUERIES
        for selector in selectors(query.expression)
        if query.where.startswith("nomad-queue") and selector.name.startswith("nomad_job")
    ]
    without = {where for where, selector in asked if "actor" not in selector.labels}
    assert without == {"nomad-queue: Failed share, 1 h", "nomad-queue: Error budget burn"}
    of_service = {s.name for _, s in asked if "job" in s.labels}
    assert {s.name for _, s in asked} - of_service == {"nomad_job_attempts_total"}


@each_query
def test_metrics_of_schedulers_are_selected_by_job(query: Query) -> None:
    # Other services export them too, as 0.
    for selector in selectors(query.expression):
        if selector.name.startswith("nomad_scheduler_"):
            assert "job" in selector.labels


@each_query
def test_no_query_divides_by_zero(query: Query) -> None:
    # A divisor is a number, or a comparison that leaves out 0.
    for divisor in re.findall(r" / (?:on \(\w+\) )?(\S+)", query.expression):
        assert re.fullmatch(r"[0-9.]+\)?", divisor) or divisor.startswith("("), query.expression
    if re.search(r" / (on \(\w+\) )?\(", query.expression):
        assert re.search(r"> [0-9.]+\)\)?( / [0-9.]+\))?$", query.expression), query.expression


@each_query
def test_unknown_is_not_shown_as_zero(query: Query) -> None:
    assert "vector(" not in query.expression
    defaults = query.panel["fieldConfig"]["defaults"]
    assert re.search("[a-z]", defaults["noValue"])
    if query.panel["type"] == "timeseries":
        assert defaults["custom"]["spanNulls"] is False
    else:
        # A range query would show the last value, however old it is.
        (target,) = [each for each in query.panel["targets"] if each["expr"] == query.expression]
        assert (target["instant"], target["range"]) == (True, False)


def test_outcomes_in_queries_exist():
    asked = {value for query in QUERIES for value in re.findall(r'outcome=~?"([^"]+)"', query.expression)}
    assert {word for value in asked for word in value.split("|")} <= set(Outcome)
