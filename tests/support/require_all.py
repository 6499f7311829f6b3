"""With NOMAD_REQUIRE_ALL=1, a test that is skipped because of a missing program fails the run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Turn a skip into a failure if everything is required."""
    report = yield
    if report.skipped and os.environ.get("NOMAD_REQUIRE_ALL") == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"NOMAD_REQUIRE_ALL=1, but this test was skipped: {report.longrepr}"
    return report
