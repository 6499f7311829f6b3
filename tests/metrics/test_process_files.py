"""A fault of the disk costs counts, never a scrape and never a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nomad_actors.metrics import process_files
from nomad_actors.metrics.process_files import DEAD, VARIABLE, ProcessFiles, make_place
from tests.processes import ROOT

COUNTING = """
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
registry = CollectorRegistry()
Counter("nomad_test_total", "Counted.", ("kind",), registry=registry).labels("a").inc(3)
Gauge("nomad_test_gauge", "Set.", registry=registry, multiprocess_mode="mostrecent").set(7)
Histogram("nomad_test_seconds", "Timed.", buckets=(1, 2), registry=registry).observe(1.5)
"""


def count(path: Path) -> None:
    """Let a process count, and die."""
    environ = {**os.environ, VARIABLE: str(path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", COUNTING], env=environ, check=True)


def samples(path: Path) -> dict[str, float]:
    return {
        sample.name + str(sample.labels.get("le", "")): sample.value
        for metric in ProcessFiles(path).collect()
        for sample in metric.samples
    }


def test_the_dead_are_one_file_a_kind_and_count_on(tmp_path: Path) -> None:
    for dead in (1, 2, 3):
        count(tmp_path)
        ProcessFiles(tmp_path).bury()
        found = samples(tmp_path)
        assert found["nomad_test_total"] == 3 * dead
        assert (found["nomad_test_seconds_bucket1.0"], found["nomad_test_seconds_bucket2.0"]) == (0, dead)
        assert (found["nomad_test_seconds_count"], found["nomad_test_seconds_sum"]) == (dead, 1.5 * dead)
        # What a dead process was is no more.
        assert "nomad_test_gauge" not in found
    assert sorted(file.name for file in tmp_path.glob("*.db")) == [f"counter_{DEAD}.db", f"histogram_{DEAD}.db"]


@pytest.mark.parametrize("rubbish", [b"", b"\x40\x00\x00\x00rubbish", b"\x40\x00\x00\x00" + b"\x08\x00\x00\x00" * 30])
def test_a_file_that_cannot_be_read_is_put_aside(
    tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    count(tmp_path)
    (tmp_path / "counter_999999999.db").write_bytes(rubbish)
    (tmp_path / "somebodys.db").write_bytes(rubbish)
    ProcessFiles(tmp_path).bury()
    assert samples(tmp_path)["nomad_test_total"] == 3
    assert (tmp_path / "counter_999999999.db.unreadable").exists()
    assert "counts of a dead process are lost" in caplog.text


def test_a_place_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_place(tmp_path / "a" / "b") == ""
    (tmp_path / "file").touch()
    assert "cannot be written" in make_place(tmp_path / "file" / "below")
    monkeypatch.setattr(process_files, "LEAST_FREE_BYTES", 1 << 60)
    assert "MiB left, less than" in make_place(tmp_path)
