"""The example for Alertmanager: valid, and about alerts, severities and labels that exist."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import jsonschema
import pytest
import yaml

from tests.programs import program

from .test_rules import ROOT, alerts

PATH = ROOT / "grafana" / "alertmanager.example.yml"

_TEXT = {"type": "string", "minLength": 1}
#: `name="value"` or `name=~"pattern"`.
_MATCHERS = {"type": "array", "items": {"type": "string", "pattern": r'^\w+(=|!=|=~|!~)".*"$'}, "minItems": 1}
_DURATION = {"type": "string", "pattern": r"^(\d+(ms|[smhdwy]))+$"}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


#: What the example uses of the configuration, after https://prometheus.io/docs/alerting/latest/configuration/.
_ROUTE: dict[str, Any] = _closed(
    ["receiver"],
    receiver=_TEXT,
    group_by={"type": "array", "items": _TEXT},
    group_wait=_DURATION,
    group_interval=_DURATION,
    repeat_interval=_DURATION,
    matchers=_MATCHERS,
    routes={"type": "array", "items": {"$ref": "#/$defs/route"}},
)
SCHEMA = _closed(
    ["route", "receivers"],
    **{"global": {"type": "object"}},
    route={"$ref": "#/$defs/route"},
    receivers={
        "type": "array",
        "items": _closed(
            ["name"],
            name=_TEXT,
            webhook_configs={"type": "array", "items": _closed(["url"], url=_TEXT, send_resolved={"type": "boolean"})},
            email_configs={"type": "array", "items": _closed(["to"], to=_TEXT, send_resolved={"type": "boolean"})},
        ),
    },
    inhibit_rules={
        "type": "array",
        "items": _closed(
            ["source_matchers", "target_matchers"],
            source_matchers=_MATCHERS,
            target_matchers=_MATCHERS,
            equal={"type": "array", "items": _TEXT},
        ),
    },
) | {"$defs": {"route": _ROUTE}}


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """The example."""
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def matching(matchers: list[str]) -> list[dict[str, Any]]:
    """Return the alerts whose static labels the matchers fit."""
    found = alerts()
    for matcher in matchers:
        name, pattern = re.fullmatch(r'(\w+)=~?"(.*)"', matcher).groups()
        labelled = [(alert, {"alertname": alert["alert"], **alert["labels"]}) for alert in found]
        found = [alert for alert, labels in labelled if re.fullmatch(pattern, labels[name])]
    return found


def test_amtool_accepts_it() -> None:
    done = subprocess.run([program("amtool"), "check-config", str(PATH)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_the_form_that_alertmanager_documents(example: dict[str, Any]) -> None:
    jsonschema.validate(example, SCHEMA)


def test_every_severity_has_a_route_to_a_receiver_that_exists(example: dict[str, Any]) -> None:
    receivers = {each["name"]: each for each in example["receivers"]}
    routes = {route["matchers"][0]: receivers[route["receiver"]] for route in example["route"]["routes"]}
    severities = {alert["labels"]["severity"] for alert in alerts()}
    assert set(routes) == {f'severity="{severity}"' for severity in severities}
    assert "webhook_configs" in routes['severity="critical"']
    assert "email_configs" in routes['severity="warning"']
    assert example["route"]["receiver"] in receivers


def test_only_alerts_that_exist_hold_others_back_and_no_cause_hides_itself(example: dict[str, Any]) -> None:
    for rule in example["inhibit_rules"]:
        causes, held = matching(rule["source_matchers"]), matching(rule["target_matchers"])
        assert causes, rule
        assert held, rule
        for matchers in (rule["source_matchers"], rule["target_matchers"]):
            for name in re.findall(r"Nomad\w+", " ".join(matchers)):
                assert name in {alert["alert"] for alert in alerts()}, name
        assert not [alert for alert in causes if alert in held], rule
        # A label that neither has is equal on both sides, and would hold everything back.
        for label in rule.get("equal", []):
            for alert in (*causes, *held):
                assert re.search(rf"by \([^)]*{label}|ratio", alert["expr"]), f"{alert['alert']} has no {label}"
