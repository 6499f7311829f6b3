"""docs/admin-api.md lists what there is, and the table of thresholds is what it says."""

from __future__ import annotations

import re
from pathlib import Path

from flask import Flask

from nomad_actors import thresholds

PAGE = (Path(__file__).parents[2] / "docs" / "admin-api.md").read_text()


def test_the_page_lists_every_endpoint_and_no_other(web: Flask) -> None:
    told = set(re.findall(r"^\| (GET|POST|DELETE) \| `([^`]+)` \|", PAGE, re.MULTILINE))
    names = {"job_id": "id", "filename": "file"}

    def written(rule: str) -> str:
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f":{names.get(found[1], found[1])}", rule)

    exist = {
        (method, written(rule.rule))
        for rule in web.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST", "DELETE", "PUT", "PATCH"}
    }
    assert told == exist


def test_the_page_tells_the_thresholds_as_they_are() -> None:
    usual, bulk = thresholds.DEFAULT, thresholds.of_queue("historical-data")
    assert (usual.failure_percent, usual.failure_least_ended, usual.failure_window_seconds) == (10, 20, 3600)
    assert (usual.waiting_jobs, bulk.waiting_jobs) == (1000, None)
    assert (usual.oldest_waiting_seconds, bulk.oldest_waiting_seconds) == (3600, 86_400)
    assert usual.beyond_time_limit_seconds == 30
    slots = thresholds.SCHEDULES
    assert (slots.unclaimed_seconds, slots.unstarted_seconds, slots.silent_seconds) == (120, 3600, 60)
    assert "no scheduler has added for 2 minutes" in PAGE
    assert "no scheduler was heard of for 60 s" in PAGE
    for said in ("over 10 %", "at least 20 ended", "over 1000 jobs", "over an hour", "over a day", "30 s beyond"):
        assert said in PAGE
