"""Metrics that alerts and dashboards use exist, and are zero from the start."""

from __future__ import annotations

import subprocess
import sys

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nomad_actors.metrics import definitions
from nomad_actors.version import __version__

NAMES_OTHERS_RELY_ON = {
    "nomad_jobs_enqueued_total": {"queue", "actor"},
    "nomad_job_duration_seconds": {"queue", "actor"},
    "nomad_job_wait_seconds": {"queue", "actor"},
    "nomad_esi_requests_total": {"group", "status"},
    "nomad_esi_not_sent_total": {"cause"},
    "nomad_esi_request_seconds": {"group"},
    "nomad_token_refresh_total": {"outcome"},
    "nomad_esi_error_limit_remaining": set(),
    "nomad_work_seconds": {"job_type", "outcome"},
    "nomad_scheduler_heartbeat_timestamp_seconds": set(),
    "nomad_scheduler_clock_offset_seconds": set(),
    "nomad_scheduler_holds": set(),
}


def test_names_and_labels_are_stable():
    ours = {
        metric._name + ("_total" if metric._type == "counter" else ""): set(metric._labelnames)
        for metric in vars(definitions).values()
        if hasattr(metric, "_labelnames") and metric._type != "info"
    }
    assert ours == NAMES_OTHERS_RELY_ON


def test_outcomes_of_a_token_refresh_are_at_zero_before_the_first():
    for outcome in definitions.TOKEN_REFRESH_OUTCOMES:
        labels = {"outcome": outcome}
        assert definitions.REGISTRY.get_sample_value("nomad_token_refresh_total", labels) is not None


def test_an_endpoint_group_is_at_zero_once_it_is_declared():
    definitions.declare_esi_group("CHARACTER_TEST")
    for status in definitions.ESI_STATUSES:
        labels = {"group": "CHARACTER_TEST", "status": status}
        assert definitions.REGISTRY.get_sample_value("nomad_esi_requests_total", labels) == 0
    assert definitions.REGISTRY.get_sample_value("nomad_esi_request_seconds_count", {"group": "CHARACTER_TEST"}) == 0


def test_the_release_is_exported():
    assert definitions.REGISTRY.get_sample_value("nomad_build_info", {"version": __version__}) == 1


def test_resources_of_the_process_are_exported():
    """The dashboards' last row and the runbook use it."""
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert (definitions.REGISTRY.get_sample_value(name) or 0) > 0, name


def test_time_limits_and_promises_are_bucket_edges():
    assert {60.0, 120.0, 300.0, 600.0} <= set(definitions.DURATION_BUCKETS)
    assert {0.003, 0.01, 0.02} <= set(definitions.WAIT_BUCKETS)


def test_no_created_series_double_the_numbers():
    families = text_string_to_metric_families(generate_latest(definitions.REGISTRY).decode())
    assert not [s.name for f in families for s in f.samples if s.name.endswith("_created")]


def test_importing_adds_nothing_to_the_default_registry():
    code = (
        "from prometheus_client import REGISTRY, generate_latest; import nomad_actors.metrics.definitions;"
        "assert b'nomad_' not in generate_latest(REGISTRY)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_esis_error_limit_is_missing_until_a_response_has_it():
    code = (
        "from nomad_actors.metrics.definitions import REGISTRY, note_esi_error_limit as note;"
        "value = lambda: REGISTRY.get_sample_value('nomad_esi_error_limit_remaining');"
        "assert value() is None; note(0); assert value() == 0; note(97); assert value() == 97"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
