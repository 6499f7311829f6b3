"""`nomad sandbox` starts the sandbox alone, `nomad sandbox conduct` shows what a client did wrong there."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from nomad_actors.settings import Settings
from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer

from .conftest import Nomad


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A sandbox with a stopped clock."""
    with SandboxServer(characters=1, clock=SandboxClock(frozen_at_s=1_795_453_200), grace_s=0) as server:
        yield server


def test_it_prints_the_settings_that_lead_to_it(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    ready = tmp_path / "ready"
    options = ["--characters=3", "--speed=100", "--start=2026-11-24T11:00:00Z", "--strict", f"--ready-file={ready}"]
    program = subprocess.Popen(
        [sys.executable, "-m", "nomad_actors.cli", "sandbox", *options], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(ready.exists, what="the ready file")
        url = ready.read_text().strip()
        assert len(requests.get(f"{url}/sandbox/logins", timeout=10).json()) == 3
        assert requests.get(f"{url}/sandbox/clock", timeout=10).json()["speed"] == 100
        assert requests.get(f"{url}/sandbox/downtime", timeout=10).json()["daily"] is True
        assert requests.get(f"{url}/sandbox/limits", timeout=10).json()["sso_parallel"] == 5
    finally:
        program.send_signal(signal.SIGINT)
        printed, _ = program.communicate(timeout=10)
    assert program.returncode == 0
    environ = dict(each.split("=", 1) for each in shlex.split(printed))
    found = Settings.from_env(environ)
    assert (found.esi_base_url, found.sso_base_url, found.eve_client_id) == (url, url, "sandbox-client")
    assert "@" in found.esi_user_agent


def test_a_wrong_option_or_a_used_port_is_one_line(nomad: Nomad) -> None:
    wrong = nomad("sandbox", "--characters", "0")
    assert (wrong.exit_code, len(wrong.stderr.splitlines())) == (2, 1)
    assert "must be 1 to 4096, got 0" in wrong.stderr
    assert nomad("sandbox", "--start", "soon").exit_code == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = nomad("sandbox", "--port", str(port))
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert f"127.0.0.1:{port} cannot be used" in refused.stderr


def test_without_the_sandbox_the_error_says_so(nomad: Nomad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sandbox.__main__", None)
    result = nomad("sandbox")
    assert result.exit_code == 78
    assert result.stderr == (
        "nomad: the sandbox is not installed here; install all of nomad-actors, or run it in a checkout\n"
    )


def test_an_empty_record_exits_with_0(nomad: Nomad, sandbox: SandboxServer) -> None:
    result = nomad("sandbox", "conduct", "--url", f"{sandbox.base_url}/")
    assert (result.exit_code, result.stdout) == (0, "The conduct record is empty.\n")


def test_the_record_is_a_table_with_reasons(nomad: Nomad, sandbox: SandboxServer) -> None:
    character_id = sandbox.logins()[0]["character_id"]
    for _ in range(2):
        requests.get(f"{sandbox.base_url}/characters/{character_id}", timeout=10, headers={"User-Agent": "x/1"})
    result = nomad("sandbox", "conduct", "--url", sandbox.base_url)
    assert result.exit_code == 1
    for text in ("before-expiry", "developers.eveonline.com", "Request nothing that is still fresh"):
        assert text in result.stdout
    assert f"GET /characters/{character_id}" in result.stdout
    assert "2026-11-23 17:00:00Z" in result.stdout
    as_json = nomad("sandbox", "conduct", "--url", sandbox.base_url, "--json")
    record = json.loads(as_json.stdout)
    assert as_json.exit_code == 1
    assert (record["total"], record["counters"]["esi_requests"]["sent"]) == (5, 2)


def test_the_record_of_the_real_esi_or_of_nobody_is_refused(nomad: Nomad) -> None:
    real = nomad("sandbox", "conduct", "--url", "https://esi.evetech.net")
    assert (real.exit_code, "is the real ESI" in real.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "nonsense", f"http://{'x' * 300}.example"):
        nobody = nomad("sandbox", "conduct", "--url", url)
        assert (nobody.exit_code, "no sandbox answers at" in nobody.stderr) == (2, True)
