"""`python -m monitoring` writes the dashboards and the alerts; the committed files are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from monitoring.__main__ import main
from monitoring.files import COMMITTED, differing, texts, write


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """`run("--check")`: run the program, and return its exit code."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["monitoring", *map(str, arguments)])
        try:
            return main()
        except SystemExit as ended:
            return int(ended.code or 0)

    return run


def test_the_committed_files_are_what_the_program_writes(run) -> None:
    assert differing(COMMITTED, texts()) == []
    assert run("--check") == 0


def test_writing_twice_changes_nothing() -> None:
    assert texts() == texts()


def test_check_names_each_file_that_was_changed_lost_or_added(tmp_path: Path, run, capsys) -> None:
    assert run("--out", tmp_path) == 0
    assert run("--out", tmp_path, "--check") == 0
    failures = tmp_path / "alerts" / "failures.yml"
    failures.write_text(failures.read_text().replace("0.144", "0.145"))
    (tmp_path / "alerts" / "mine.yml").write_text("groups: []\n")
    (tmp_path / "alerts" / "queues.yml").unlink()
    (tmp_path / "dashboards" / "nomad-queue.json").write_text("{}")
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    assert run("--out", tmp_path, "--check") == 1
    found = "alerts/failures.yml, alerts/mine.yml, alerts/queues.yml, dashboards/nomad-queue.json, dashboards/old.json"
    assert f"out of date, run `make monitoring`: {found}\n" in capsys.readouterr().err
    assert run("--out", tmp_path) == 0
    assert run("--out", tmp_path, "--check") == 0


def test_files_that_are_not_generated_stay(tmp_path: Path) -> None:
    (tmp_path / "alertmanager.example.yml").write_text("mine")
    write(tmp_path, texts())
    assert (tmp_path / "alertmanager.example.yml").read_text() == "mine"


@pytest.mark.parametrize("factor", ["0", "-1", "nan"])
def test_a_factor_that_stops_time_is_refused(run, capsys, factor: str) -> None:
    assert run("--factor", factor, "--check") == 2
    assert f"must be above 0, not {factor}" in capsys.readouterr().err


def test_a_factor_applies_to_alerts_and_dashboards(tmp_path: Path, run) -> None:
    assert run("--factor", "0.5", "--out", tmp_path) == 0
    assert '"value": 1800.0' in (tmp_path / "dashboards" / "nomad-overview.json").read_text()
    assert "for: 2m30s" in (tmp_path / "alerts" / "services.yml").read_text()


def test_one_option_sets_the_address_of_the_runbook(tmp_path: Path, run) -> None:
    assert run("--out", tmp_path, "--runbook", "https://wiki.example/runbook.md") == 0
    text = (tmp_path / "alerts" / "queues.yml").read_text()
    assert "runbook_url: https://wiki.example/runbook.md#nomadbacklog" in text
    assert "docs/runbook.md" not in text
