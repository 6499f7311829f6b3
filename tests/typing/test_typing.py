"""Type checkers with the installed wheel find exactly the errors in `sample.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

SAMPLE = Path(__file__).with_name("sample.py").read_text()
WRONG = {number for number, line in enumerate(SAMPLE.splitlines(), 1) if "  # wrong: " in line}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's directory that contains the sample as a module."""
    (tmp_path / "sample.py").write_text(SAMPLE)
    return tmp_path


def run(project: Path, checker: str, *arguments: str) -> str:
    command = [sys.executable, "-m", checker, *arguments, "sample.py"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.slow
def test_the_wheel_is_marked_as_typed(wheel: Path) -> None:
    assert "nomad_actors/py.typed" in ZipFile(wheel).namelist()


@pytest.mark.slow
def test_mypy_finds_each_wrong_use_and_no_other(project: Path, python: Path) -> None:
    found = run(project, "mypy", "--strict", "--python-executable", str(python))
    assert {int(line) for line in re.findall(r"^sample\.py:(\d+): error", found, re.MULTILINE)} == WRONG, found


@pytest.mark.slow
def test_pyright_finds_each_wrong_use_and_no_other(project: Path, python: Path) -> None:
    (project / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    found = run(project, "basedpyright", "--pythonpath", str(python), "--level", "error", "--outputjson")
    errors = {each["range"]["start"]["line"] + 1: each["message"] for each in json.loads(found)["generalDiagnostics"]}
    assert set(errors) == WRONG, errors
