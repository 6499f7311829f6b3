"""Every runbook entry that a finding names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_runbook_entry_of_a_finding_exists() -> None:
    sources = [*(ROOT / "nomad_actors" / "health").glob("*.py"), ROOT / "nomad_actors" / "scheduler" / "status.py"]
    named = {name for path in sources for name in re.findall(r'"(Nomad[A-Z][A-Za-z]+)"', path.read_text("utf-8"))}
    entries = set(re.findall(r"^### (\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE))
    assert len(named) > 8
    assert named <= entries
