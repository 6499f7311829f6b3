"""A few fixed hostile values of every kind: the short form of `python -m chaos --only hostile`."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.hostile.case import Case
from chaos.hostile.proof import RAW, ROUND, run_cases

pytestmark = pytest.mark.slow

SEED = 15
#: Number of cases of each kind.
SHORT = {
    "add_job": 30,
    "schedule_job": 8,
    "job": 30,
    "api": 30,
    "page": 14,
    "command": 8,
    "settings": 80,
    "log_line": 60,
    RAW: 30,
}


def test_the_short_form_has_every_kind() -> None:
    assert set(SHORT) == set(ROUND)


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_hostile_values_are_handled(redis_url: str, tmp_path: Path, log_format: str) -> None:
    first = 0 if log_format == "json" else 1
    # The admin process is started only once, with JSON logs.
    kinds = [kind for kind in SHORT if log_format == "json" or kind != RAW]
    cases = [Case(SEED, kind, number) for kind in kinds for number in range(first, SHORT[kind], 2)]
    failures = run_cases(cases, redis_url, tmp_path, log_format)
    assert not failures, "\n\n".join(failures)
