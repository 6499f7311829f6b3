"""The examples of docs/data.md: the Python of a developer, and the first ten minutes of a newcomer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nomad_actors.processes.parent import end_with_parent
from nomad_actors.store import Store

ROOT = Path(__file__).parents[2]
#: What is in a comment is for later.
PAGE = re.sub(r"<!--.*?-->", "", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def examples(section: str, language: str) -> str:
    """Return the examples of a section, in order."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def url_of(store: Store) -> str:
    return store.database.url.render_as_string(hide_password=False).replace("+psycopg", "")


@pytest.mark.usefixtures("october")
def test_the_python_of_the_page_runs(store: Store, absorb: Callable[..., None], tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", examples("From Python", "python")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url_of(store), "PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "2026-10-05 00:00:00+00:00 market_escrow -20.50 129.75" in ran.stdout
    assert "2026-10-20 129.75\n2026-10-21 70000000000129.82\n" in ran.stdout
    assert "3300 5 observed at 2026-10-03 00:00:00+00:00" in ran.stdout
    assert re.search(r"wallet_journal .* \[.*'retention'", ran.stdout)


def test_every_function_of_the_page_exists_with_its_arguments() -> None:
    from nomad_actors import data

    listed = re.findall(r"^\| `(\w+)\(([^)]*)\)` \|", PAGE, re.MULTILINE)
    assert {name for name, _ in listed} == {name for name in data.__all__ if name.islower()} - {"connect"}
    for name, arguments in listed:
        for argument in re.findall(r"\w+", arguments):
            assert argument in str(getattr(data, name).__signature__), (name, argument)


def test_reading_imports_neither_flask_nor_the_client_of_esi() -> None:
    shown = "print([name for name in ('flask', 'requests', 'redis') if name in sys.modules])"
    script = f"import sys; from nomad_actors import data; {shown}"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"


@pytest.mark.slow
def test_a_newcomers_ten_minutes(tmp_path: Path) -> None:
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        # Others may use the usual ports of this host.
        "ADMIN_PORT": "0",
        "NOMAD_METRICS_PORT": "0",
    }
    steps = examples("A newcomer.s ten minutes", "bash")
    script = f"set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{steps}"
    ran = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environ,
        preexec_fn=end_with_parent,
    )
    log = tmp_path / "var" / "nomad.log"
    assert ran.returncode == 0, ran.stdout + ran.stderr + (log.read_text() if log.exists() else "")
    assert "is logged in for user 1" in ran.stdout
    assert "completed" in ran.stdout
    days = re.findall(r"^\d\d-\d\d +([\d,.]+) #+$", ran.stdout, re.MULTILINE)
    assert len(days) >= 30
    rows = re.findall(r"^\d{4}-\d\d-\d\dT[\d:.]+Z\|([\d.]+)$", ran.stdout, re.MULTILINE)
    assert len(rows) == 5
    # The newest balance is the same from Python and from SQL.
    assert float(days[-1].replace(",", "")) == pytest.approx(float(rows[0]), abs=0.01)
    exported = pq.read_table(tmp_path / "var" / "journal.parquet")
    assert float(exported["balance"][-1].as_py()) == pytest.approx(float(rows[0]), abs=0.01)
