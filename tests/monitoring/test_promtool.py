"""Prometheus' own tool runs the rules over series: both sides of every threshold, at the real windows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from monitoring import files
from monitoring.alerts.files import texts
from tests.support.programs import program

from .mutations import moved_tables, noticed

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TESTS = sorted(HERE.glob("*.yml"))


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run promtool with less garbage collection, which took a fifth of its time."""
    command = [program("promtool"), *map(str, arguments)]
    environ = {**os.environ, "GOGC": "800"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_fire_beyond_their_thresholds_and_not_before(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_firing_and_quiet() -> None:
    tests = {path: yaml.safe_load(path.read_text()) for path in TESTS if path.stem != "words"}
    text = "\n".join(path.read_text() for path in tests)
    names = {name for group in all_alerts() for name in group}
    for name in names:
        assert f'alertname="{name}",alertstate="firing"' in text, name
    words = (HERE / "words.yml").read_text()
    assert {name for name in names if f"alertname: {name}\n" not in words} == set()


@pytest.mark.parametrize(
    "name",
    [
        "default.waiting_jobs up",
        "doctor.memory_problem_percent down",
        "alerts.missing_for_seconds up",
        "alerts.burns[0].factor up",
        "alerts.success_grace_by_schedule_seconds[token-refresh] down",
    ],
)
def test_a_changed_threshold_fails_a_test(name: str) -> None:
    program("promtool")
    assert noticed(dict(moved_tables())[name]) is True


@pytest.mark.parametrize("factor", [0.0167, 0.001])
def test_the_rules_with_a_factor_are_valid(factor: float, tmp_path: Path) -> None:
    files.write(tmp_path, files.texts(factor=factor))
    done = promtool("check", "rules", *tmp_path.glob("alerts/*.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def all_alerts() -> list[list[str]]:
    """Return the names of the alerts by group."""
    groups = [group for text in texts().values() for group in yaml.safe_load(text)["groups"]]
    return [[rule["alert"] for rule in group["rules"] if "alert" in rule] for group in groups]
