"""The rules as data: complete texts, and no alert that is silent because a series is missing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from monitoring.alerts import files, missing
from monitoring.alerts.promql import LEAST_RANGE_SECONDS, duration
from monitoring.alerts.rule import Alert, Group, Recording
from nomad_actors import thresholds

ROOT = Path(__file__).parents[2]

#: The fields in which a queue may have its own limits; the rules read the others only from the default.
BY_QUEUE = {"waiting_jobs", "drain_seconds", "oldest_waiting_seconds"}


def rules(factor: float = 1.0) -> list[dict[str, Any]]:
    """Return every generated rule."""
    texts = files.texts(factor=factor)
    return [rule for text in texts.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return every generated alert."""
    return [rule for rule in rules() if "alert" in rule]


def selectors(expression: Any, inside: str = "") -> Iterator[tuple[Any, str]]:
    """Yield every selector of a parsed expression with the name of its function."""
    match expression:
        case promql_parser.VectorSelector():
            yield expression, inside
        case promql_parser.MatrixSelector():
            yield expression.vector_selector, inside
        case promql_parser.SubqueryExpr():
            yield from selectors(expression.expr, inside)
        case promql_parser.Call():
            for argument in expression.args:
                yield from selectors(argument, expression.func.name)
        case promql_parser.BinaryExpr():
            yield from selectors(expression.lhs, inside)
            yield from selectors(expression.rhs, inside)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from selectors(expression.expr, inside)


def seconds(text: str) -> float:
    """Return Prometheus' duration as seconds."""
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+)(ms|[dhms])", text))


def test_every_alert_has_a_severity_a_text_and_a_runbook_entry() -> None:
    for alert in alerts():
        name, annotations = alert["alert"], alert["annotations"]
        assert re.fullmatch(r"Nomad([A-Z][a-z]+)+", name)
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        assert annotations["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        # The summary is the same for all of a kind, so that they are one message.
        assert re.fullmatch(r"[A-Z][^{]+\.", annotations["summary"]), name
        assert re.search(r"\bnomad [a-z]+|Prometheus' page", annotations["description"]), f"{name}: what to do first"
        assert not any("$value" in value for value in alert["labels"].values()), name


def test_labels_distinguish_alerts_of_one_name() -> None:
    for alert in alerts():
        by = re.search(r"by \((\w+)", alert["expr"])
        if by and by[1] in ("queue", "schedule"):
            assert f"$labels.{by[1]}" in alert["annotations"]["description"] or "absent" in alert["expr"], alert[
                "alert"
            ]


def test_rules_of_a_name_have_one_summary_and_differ_in_their_labels() -> None:
    names = {alert["alert"] for alert in alerts()}
    for name in names:
        same = [alert for alert in alerts() if alert["alert"] == name]
        assert len({alert["annotations"]["summary"] for alert in same}) == 1
        assert len({tuple(sorted(alert["labels"].items())) for alert in same}) == len(same)


def test_one_bad_scrape_fires_no_alert() -> None:
    for alert in alerts():
        held = seconds(alert.get("for", "0s"))
        over = [seconds(window) for window in re.findall(r"\[(\w+)\]", alert["expr"])]
        # An event that is counted over a window needs no time: the counter has risen.
        assert held >= 30 or ("increase(" in alert["expr"] and min(over) >= 60), alert["alert"]


def test_counters_are_only_used_as_increases() -> None:
    for rule in rules():
        for selector, inside in selectors(promql_parser.parse(rule["expr"])):
            if selector.name.endswith(("_total", "_sum", "_count")):
                assert inside in ("rate", "increase", "absent"), f"{rule}: {selector.name}"


def test_values_of_two_admins_are_not_summed() -> None:
    for rule in rules():
        around = re.findall(r"(\S+ \S+ \(.*?\)) \(\w+\(nomad_job_attempts_total", rule["expr"])
        assert all(each.endswith("(max by (queue, actor, outcome)") for each in around), rule["expr"]
        for summed in re.findall(r"sum by \([^)]*\) \((\w+)", rule["expr"]):
            # `up` is Prometheus' own: one series a target.
            assert summed in ("increase", "rate", "max", "up"), rule["expr"]


def test_every_series_of_a_critical_alert_is_watched() -> None:
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    watched = {
        selector.name
        for alert in alerts()
        if alert["alert"] == "NomadMetricMissing"
        for selector, inside in selectors(promql_parser.parse(alert["expr"]))
        if inside == "absent"
    }

    def metrics_of(expr: str) -> set[str]:
        found = [each for each, _ in selectors(promql_parser.parse(expr))]
        return {
            n for each in found for n in (metrics_of(recorded[each.name]) if each.name in recorded else {each.name})
        }

    for alert in alerts():
        if alert["labels"]["severity"] == "critical" and alert["alert"] != "NomadMetricMissing":
            own = {s.name for s, inside in selectors(promql_parser.parse(alert["expr"])) if inside == "absent"}
            # Missing while the schedule is off, which a watched series shows.
            own |= {"nomad_schedule_success_due_timestamp_seconds"} & metrics_of(alert["expr"])
            assert metrics_of(alert["expr"]) - {"up"} <= watched | own, alert["alert"]
            assert "up" not in metrics_of(alert["expr"]) or "up" in own, alert["alert"]


def test_a_metric_without_defined_series_stops_the_generator() -> None:
    alert = Alert(name="N", expr="nomad_new_thing == 0", severity="critical", summary="S.", description="D")
    with pytest.raises(LookupError, match="nomad_new_thing"):
        missing.groups(thresholds.table(), [Group(name="g", rules=[alert])])
    through = Recording(name="queue:nomad_new_thing:sum", expr="sum by (queue) (nomad_new_thing)")
    alert = dataclasses.replace(alert, expr="queue:nomad_new_thing:sum == 0")
    assert missing.relied_on([Group(name="g", rules=[through, alert])]) == {"nomad_new_thing"}


def test_queues_differ_only_in_limits_that_the_rules_read_by_queue() -> None:
    for limits in thresholds.BY_QUEUE.values():
        for field in dataclasses.fields(limits):
            if field.name not in BY_QUEUE:
                assert getattr(limits, field.name) == getattr(thresholds.DEFAULT, field.name), field.name


@pytest.mark.parametrize("factor", [0.0167, 0.001])
def test_a_factor_shortens_the_durations_of_the_same_rules(factor: float) -> None:
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert [rule.get("alert") or rule["record"] for rule in rules(factor)] == names
    for real, fast in zip(rules(), rules(factor), strict=True):
        assert seconds(fast.get("for", "0s")) == pytest.approx(seconds(real.get("for", "0s")) * factor, abs=0.002)
        if real.get("alert") == "NomadScheduleNotSucceeding":
            assert fast["expr"] == real["expr"]  # The calendar is not faster.
            continue
        windows = zip(re.findall(r"\[(\w+)\]", real["expr"]), re.findall(r"\[(\w+)\]", fast["expr"]), strict=True)
        for before, after in windows:
            assert seconds(after) == pytest.approx(max(seconds(before) * factor, LEAST_RANGE_SECONDS), abs=0.002)
    for text in files.texts(factor=factor).values():
        assert all(seconds(group["interval"]) >= 1 for group in yaml.safe_load(text)["groups"])


def test_durations_have_prometheus_form() -> None:
    assert [duration(each) for each in (60, 15_000, 5.01, 86_400, 0)] == ["1m", "4h10m", "5s10ms", "1d", "0s"]
