"""The page about metrics lists every metric and no other."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import promql_parser

from nomad_actors.broker.client.server import ServerFacts
from nomad_actors.broker.endings import Outcome
from nomad_actors.clock import SystemClock
from nomad_actors.esi.limits import LimitsState
from nomad_actors.health.esi_families import limits_families
from nomad_actors.health.queue_families import queue_families
from nomad_actors.health.scrape import families_of_database, schedule_families, server_families
from nomad_actors.metrics.definitions import (
    ESI_ERROR_LIMIT_REMAINING,
    REGISTRY,
    SCHEDULER,
    TOKEN_REFRESH_OUTCOMES,
)
from nomad_actors.metrics.exposition import ScrapeCollector
from nomad_actors.scheduler.status import SchedulerSnapshot
from nomad_actors.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()

NO_LIMITS = LimitsState(
    brakes=[],
    errors_remaining=100,
    errors_reset_ms=0,
    starving=[],
    busy=[],
    under_way=0,
    concurrency=32,
    sso_under_way=0,
    sso_concurrency=4,
)


def exported(store: Store) -> set[str]:
    collected = [REGISTRY, SCHEDULER, ScrapeCollector({}), ESI_ERROR_LIMIT_REMAINING]
    families = [family for each in collected for family in each.collect()]
    families += [*queue_families([], {}, {}), *schedule_families(SchedulerSnapshot([], [], 0))]
    families += [*server_families(ServerFacts(0, 0)), *families_of_database(store, SystemClock())]
    families += limits_families(NO_LIMITS, None, 0)
    suffix = {"counter": "_total", "info": "_info"}
    return {f.name + suffix.get(f.type, "") for f in families if f.name.startswith("nomad_")}


def test_the_page_has_each_metric_and_no_other(tmp_path: Path) -> None:
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/n.db", cipher=None, clock=SystemClock())) as store:
        assert set(re.findall(r"^\| `(nomad_\w+)` \|", PAGE, re.MULTILINE)) == exported(store)


def test_the_page_has_each_outcome():
    for outcome in (*Outcome, *TOKEN_REFRESH_OUTCOMES):
        assert outcome in PAGE


def test_the_queries_are_valid():
    queries = re.findall(r"\? \| `(.+)` \|$", PAGE, re.MULTILINE)
    assert len(queries) == 5
    for query in queries:
        promql_parser.parse(query.replace(r"\|", "|"))
