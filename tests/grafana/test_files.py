"""The dashboards' files are generated reproducibly, well formed, and found by Grafana."""

from __future__ import annotations

import json
import re
from itertools import combinations

import pytest
import yaml

from monitoring.dashboards.dashboard import Dashboard, Row
from monitoring.dashboards.panels import graph, panel_id

from .conftest import DASHBOARDS, DIRECTORY, ROOT
from .prometheus import CONFIG

UIDS = ["nomad-overview", "nomad-queue", "nomad-schedules"]


def test_keys_are_sorted_and_lines_short_enough_for_a_review():
    for path in DIRECTORY.glob("*.json"):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_a_new_panel_changes_no_other_panels_id():
    # Links to a panel keep working, and a review shows only the new panel.
    def ids(*titles: str) -> dict[str, int]:
        panels = [graph(title, "Something.", [], unit="short") for title in titles]
        document = Dashboard(uid="a", title="A", description="", variables=[], rows=[Row("All", panels)]).as_json()
        return {panel["title"]: panel["id"] for panel in document["panels"]}

    assert ids("one", "two").items() <= ids("zero", "one", "two").items()


def test_two_panels_with_the_same_title_are_refused():
    panels = [graph("Twice", "Something.", [], unit="short"), graph("Twice", "Something else.", [], unit="short")]
    with pytest.raises(ValueError, match="'Twice' and 'Twice' would have the same id"):
        Dashboard(uid="a", title="A", description="", variables=[], rows=[Row("All", panels)]).as_json()


def test_a_dashboard_can_be_provisioned(dashboard):
    assert dashboard["id"] is None
    assert dashboard["schemaVersion"] == 41
    assert all(panel["id"] == panel_id(panel["title"]) for panel in dashboard["panels"] if panel["type"] != "row")


def test_the_uids_are_stable():
    assert [dashboard["uid"] for dashboard in DASHBOARDS] == UIDS
    assert [f"{uid}.json" for uid in UIDS] == sorted(path.name for path in DIRECTORY.iterdir())


def test_panel_ids_differ_and_panels_do_not_overlap(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    for a, b in combinations(boxes, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)


def test_no_row_of_panels_has_a_gap(dashboard):
    for top in {panel["gridPos"]["y"] for panel in dashboard["panels"]}:
        line = [panel["gridPos"] for panel in dashboard["panels"] if panel["gridPos"]["y"] == top]
        assert sum(box["w"] for box in line) == 24, top


def test_each_dashboard_links_to_the_others_with_the_same_time_range(dashboard):
    (link,) = dashboard["links"]
    assert (link["type"], link["tags"], link["keepTime"]) == ("dashboards", ["nomad"], True)
    assert dashboard["tags"] == ["nomad"]


def test_provisioning_has_the_scrape_interval_and_the_directory_of_the_dashboards():
    interval = re.search(r"scrape_interval: (\S+)", CONFIG.read_text())[1]
    (source,) = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["jsonData"]["timeInterval"]) == ("prometheus", interval)
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/nomad.yml").read_text())["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/etc/grafana/dashboards")
    assert provider["allowUiUpdates"] is False
