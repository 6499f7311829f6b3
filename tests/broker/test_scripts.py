"""What holds for every script: its header, where its keys and constants come from, and that a default has one place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nomad_actors.broker import constants, keys
from nomad_actors.broker.scripts import CONSTANTS, scripts

PACKAGE = Path(keys.__file__).resolve().parent.parent
FILES = sorted((PACKAGE / "broker/scripts").rglob("*.lua"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_script_and_include_documents_its_arguments_and_result(path: Path) -> None:
    head = re.match(r"(?:--.*\n)+", path.read_text(encoding="utf-8"))
    assert head, "no header"
    assert (
        not {"KEYS", "ARGV", "Returns"}
        - set(re.findall(r"^-- (?:KEYS, )?(\w+):", f"{head[0]}", re.MULTILINE))
        - ({"KEYS"} if "-- KEYS, ARGV:" in head[0] else set())
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_script_names_keys_and_never_builds_one(path: Path) -> None:
    code = "\n".join(line.partition("--")[0] for line in path.read_text(encoding="utf-8").splitlines())
    assert "BASE" not in code
    assert "KEYS" not in code
    assert not re.search(r"\.\. *'[^']*:", code), "a text with a colon is put together, as a key is"


def test_python_builds_keys_in_the_table_alone() -> None:
    """A key is its base, a colon and more: `f"{base}:jobs"`, `base + ":jobs"`, or a suffix of the table in a text."""
    suffixes = "|".join(sorted({re.split(r"[:{]", key.suffix)[0] for key in all_keys()}))
    builds = re.compile(rf"""\}}:(?:{suffixes})\b|["']:(?:{suffixes})\b|\{{[^{{}}]*\bbase\b[^{{}}]*\}}:""")
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{number}: {line.strip()}"
        for folder in ("nomad_actors", "admin", "bench", "demo")
        for path in sorted((PACKAGE.parent / folder).rglob("*.py"))
        if path != Path(keys.__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if builds.search(line)
    ]
    assert not found


def all_keys() -> list[keys.Key]:
    return [*keys.QUEUE_KEYS.values(), *keys.NAMESPACE_KEYS.values()]


def test_every_key_of_a_queue_is_used() -> None:
    texts = [path.read_text(encoding="utf-8") for path in [*FILES, *(PACKAGE / "broker").rglob("*.py")]]
    unused = {
        name
        for name in keys.QUEUE_KEYS
        if not any(re.search(rf"KEY\.{name}\b|keys\.{name.upper()}\b", text) for text in texts)
    }
    assert not unused


def test_every_constant_is_used_by_a_script_and_written_in_none() -> None:
    named = {
        name for path in FILES for line in re.findall("-- constants: (.+)", path.read_text()) for name in line.split()
    }
    assert named == set(CONSTANTS)
    for path in FILES:
        assert not re.search(rf"^local ({'|'.join(CONSTANTS)})\b.*=", path.read_text(), re.MULTILINE), path.name


def test_a_script_knows_python_s_numbers() -> None:
    text = scripts()["heartbeat"].source.decode()
    assert f"local MAX_CRASHES = {constants.MAX_CRASHES}\n" in text


SHOWS_RETENTION = """
from nomad_actors.broker import JobBroker
from nomad_actors.clock import SystemClock
from nomad_actors.broker.scripts import scripts
from nomad_actors.queues import Queues
from nomad_actors.settings import Settings
broker = JobBroker(url="redis://localhost:1")
Queues(broker, settings=Settings(), clock=SystemClock()).declare("shop")
declared = broker.queues["shop"].retention.completed
written = "local KEEP_COMPLETED = 777\\n" in scripts()["settle"].source.decode()
print(broker.retention.completed, Settings().keep_completed.jobs, declared, written)
"""


def test_another_default_of_the_retention_is_a_change_of_one_file(tmp_path: Path) -> None:
    copied = shutil.copytree(PACKAGE, tmp_path / "nomad_actors", ignore=shutil.ignore_patterns("__pycache__"))
    path = copied / "retention.py"
    text = path.read_text(encoding="utf-8")
    changed, count = re.subn(r"completed: int = [\d_]+", "completed: int = 777", text)
    assert count == 1
    path.write_text(changed, encoding="utf-8")
    command = [sys.executable, "-c", SHOWS_RETENTION]
    shown = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert shown.stdout == "777 777 777 True\n", shown.stderr
