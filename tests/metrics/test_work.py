"""Work inside a job is timed under a limited number of names; an invalid name is refused before the work starts."""

from __future__ import annotations

import math

import pytest

from nomad_actors import job_metrics
from nomad_actors.errors import BadInput
from nomad_actors.metrics import work as work_metrics
from nomad_actors.metrics.definitions import REGISTRY


def counted(name: str, outcome: str, kind: str = "count") -> float | None:
    return REGISTRY.get_sample_value(f"nomad_work_seconds_{kind}", {"job_type": name, "outcome": outcome})


def test_work_is_recorded_in_seconds_under_its_outcome() -> None:
    job_metrics.record_job_metric("my-job", 1500, True)
    job_metrics.record_job_metric("my-job", 250.5, False)
    assert (counted("my-job", "completed"), counted("my-job", "completed", "sum")) == (1, 1.5)
    assert (counted("my-job", "failed"), counted("my-job", "failed", "sum")) == (1, 0.2505)


def test_both_outcomes_exist_from_the_first_record() -> None:
    job_metrics.record_job_metric("first-of-its-name", 1, True)
    assert counted("first-of-its-name", "failed") == 0


def test_a_timer_records_completed_and_failed_work() -> None:
    with job_metrics.timer("timed") as timed:
        assert timed.duration_ms == 0
    assert timed.duration_ms > 0
    with pytest.raises(ValueError, match="no"), job_metrics.timer("timed"):
        raise ValueError("no")
    assert (counted("timed", "completed"), counted("timed", "failed")) == (1, 1)


@pytest.mark.parametrize("name", ["", "Upper", "with space", "-", "a" * 64, "line\nbreak"])
def test_an_invalid_name_is_refused_before_the_work_starts(name: str) -> None:
    began = False
    with pytest.raises(BadInput, match="allowed"), job_metrics.timer(name):
        began = True
    assert not began
    with pytest.raises(BadInput, match="allowed"):
        job_metrics.record_job_metric(name, 1, True)


@pytest.mark.parametrize("duration_ms", [-1, math.nan, math.inf])
def test_an_invalid_duration_is_refused(duration_ms: float) -> None:
    with pytest.raises(BadInput, match="0 or more"):
        job_metrics.record_job_metric("my-job", duration_ms, True)


def test_names_beyond_the_limit_share_one_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work_metrics, "_names", {f"name-{i}" for i in range(work_metrics.MAX_NAMES - 1)})
    work_metrics._limit_logged.clear()
    for name in ("the-last", "too-many", "too-many-more"):
        job_metrics.record_job_metric(name, 1, True)
    assert counted("the-last", "completed") == 1
    assert counted("too-many", "completed") is None
    assert counted("other", "completed") == 2
    # Once a process: jobs may be many.
    assert caplog.text.count("all further names are counted as `other`") == 1
