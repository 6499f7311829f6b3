"""The Alertmanager example is valid and uses existing alerts, severities and labels."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import jsonschema
import pytest
import requests
import yaml

from nomad_actors.processes.local_redis import free_port
from nomad_actors.processes.parent import end_with_parent
from tests.support.programs import program

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


#: Labels that alerts have from their series, with their values.
REPORTED: Mapping[str, Mapping[str, str]] = {"NomadCollectorFailing": {"source": "redis"}}


def matching(matchers: list[str]) -> list[dict[str, Any]]:
    """Return the alerts that match the matchers."""
    found = alerts()
    for matcher in matchers:
        name, pattern = re.fullmatch(r'(\w+)=~?"(.*)"', matcher).groups()
        labelled = [
            (alert, {"alertname": alert["alert"], **REPORTED.get(alert["alert"], {}), **alert["labels"]})
            for alert in found
        ]
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


def test_only_existing_alerts_inhibit_others_and_no_alert_inhibits_itself(example: dict[str, Any]) -> None:
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


class Pager:
    """Receives Alertmanager's webhook calls during a `with` block."""

    def __init__(self) -> None:
        self.received: list[str] = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                pager.received += [alert["labels"]["alertname"] for alert in body["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_the_person_on_call_gets_the_cause_and_not_its_consequences(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """With a real Alertmanager and the example, except for its addresses and waits."""
    missing = {"alertname": "NomadMetricMissing", "severity": "critical"}
    firing = [
        {"alertname": "NomadNoWorkers", "job": "workers", "severity": "critical"},
        *({**missing, "metric": "nomad_job_attempts_total", "queue": queue} for queue in ("esi-refresh", "q")),
        {"alertname": "NomadQueueUnserved", "queue": "esi-refresh", "severity": "critical"},
        {"alertname": "NomadWorkerDown", "instance": "w:9191", "job": "workers", "severity": "warning"},
        {"alertname": "NomadCollectorFailing", "source": "redis", "severity": "critical"},
        {**missing, "metric": "nomad_scheduler_holds"},
        {"alertname": "NomadPoisonJob", "queue": "q", "severity": "warning"},
    ]
    with Pager() as pager, alertmanager(tmp_path, pager.url) as url:
        wait_until(lambda: post(f"{url}/api/v2/alerts", [{"labels": labels} for labels in firing]), timeout_seconds=30)
        # The three groups arrive one by one.
        wait_until(lambda: len(pager.received) >= 3, timeout_seconds=30)
        suppressed = get(f"{url}/api/v2/alerts?active=false&inhibited=true")
    assert sorted(pager.received) == ["NomadCollectorFailing", "NomadMetricMissing", "NomadNoWorkers"]
    # A Redis that cannot be read explains nothing that is missing of a scheduler's own.
    held = [(each["labels"]["alertname"], each["labels"].get("metric", "")) for each in suppressed]
    assert sorted(held) == [
        ("NomadMetricMissing", "nomad_job_attempts_total"),
        ("NomadMetricMissing", "nomad_job_attempts_total"),
        ("NomadQueueUnserved", ""),
        ("NomadWorkerDown", ""),
    ]


@contextmanager
def alertmanager(directory: Path, pager: str) -> Iterator[str]:
    """Run an Alertmanager with the example during a `with` block, and return its address."""
    text = PATH.read_text(encoding="utf-8").replace("https://pager.example.org/hooks/nomad", pager)
    text = re.sub(r"group_wait: \S+", "group_wait: 1s", text)
    # Nobody takes its mails here; without a name it would look one up.
    text = text.replace("mail.example.org:587", "127.0.0.1:1").replace("/etc/alertmanager/", f"{directory}/")
    (directory / "smtp-password").write_text("secret")
    (directory / "alertmanager.yml").write_text(text)
    port = free_port()
    command = [program("prometheus-alertmanager"), f"--config.file={directory / 'alertmanager.yml'}"]
    command += [f"--storage.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (directory / "alertmanager.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--cluster.listen-address="], stdout=log, stderr=log, preexec_fn=end_with_parent
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def post(url: str, body: object) -> bool:
    """Post JSON; return whether it was accepted."""
    try:
        return requests.post(url, json=body, timeout=5).ok
    except requests.ConnectionError:
        return False


def get(url: str) -> Any:
    """Return the JSON at an address."""
    return requests.get(url, timeout=5).json()
