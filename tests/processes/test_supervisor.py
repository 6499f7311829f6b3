"""The supervisor: programs that die are restarted, and none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nomad_actors.processes.parent import Readiness
from nomad_actors.processes.supervisor import STEADY_SECONDS, Supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
#: Ignores SIGTERM, and prints when it gets it.
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)",
]


def test_a_program_that_dies_is_restarted(wait_until: Callable[..., None]) -> None:
    supervisor = Supervisor()
    supervisor.add("sleeper", SLEEP, os.environ)
    supervisor.start()
    try:
        wait_until(lambda: supervisor.alive()["sleeper"])
        first = supervisor.pids()["sleeper"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.alive()["sleeper"] and supervisor.pids()["sleeper"] != first)
    finally:
        supervisor.stop(5)
    assert not any(supervisor.alive().values())


def test_a_program_that_keeps_dying_is_restarted_with_backoff(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    starts = tmp_path / "starts"
    supervisor = Supervisor()
    once = f"import time; open({str(starts)!r}, 'a').write(f'{{time.monotonic()}}\\n')"
    supervisor.add("crasher", [sys.executable, "-c", once], os.environ)
    supervisor.start()
    try:
        wait_until(lambda: starts.exists() and len(starts.read_text().split()) >= 3)
    finally:
        supervisor.stop(5)
    first, second, third = map(float, starts.read_text().split()[:3])
    assert 0.4 < second - first < third - second


def test_a_program_that_is_not_to_be_restarted_stays_down(wait_until: Callable[..., None]) -> None:
    supervisor = Supervisor()
    supervisor.add("once", [sys.executable, "-c", ""], os.environ, restart=False)
    supervisor.add("sleeper", SLEEP, os.environ)
    supervisor.start()
    try:
        wait_until(lambda: "once" in supervisor.pids())
        wait_until(lambda: supervisor.pids().keys() == {"sleeper"})
        # Another program that dies now is restarted after the same backoff: by then the first would be back too.
        first = supervisor.pids()["sleeper"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.pids().get("sleeper", first) != first)
        assert supervisor.pids().keys() == {"sleeper"}
    finally:
        supervisor.stop(5)


def test_a_program_that_does_not_stop_in_time_is_killed(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    ready = tmp_path / "ready"
    supervisor = Supervisor()
    supervisor.add("stubborn", [*STUBBORN, str(ready)], os.environ)
    supervisor.start()
    wait_until(ready.exists)
    pid = supervisor.pids()["stubborn"]
    supervisor.stop(0.3)
    assert not psutil.pid_exists(pid)


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    pids = tmp_path / "pids"
    source = (
        "import os, sys, time\n"
        "from nomad_actors.processes.supervisor import Supervisor\n"
        "s = Supervisor()\n"
        "s.add('sleeper', [sys.executable, '-c', 'import time; time.sleep(600)'], os.environ)\n"
        "s.start()\n"
        "while not s.alive()['sleeper']: time.sleep(0.01)\n"
        "open(sys.argv[1] + '.new', 'w').write(str(s.pids()['sleeper']))\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", source, str(pids)])
    wait_until(pids.exists)
    child = int(pids.read_text())
    assert psutil.pid_exists(child)
    process.kill()
    process.wait()
    wait_until(lambda: not psutil.pid_exists(child))


class FileFoundation:
    """A program that is ready if a file exists, with the file `progress` as its progress."""

    def __init__(self, ready: Path, progress: Path | None = None) -> None:
        self._ready, self._progress = ready, progress

    def readiness(self, pid: int) -> Readiness:
        if self._ready.exists():
            return Readiness(True)
        return Readiness(False, self._progress.stat().st_size if self._progress and self._progress.exists() else None)

    def last_log_lines(self) -> str:
        return "its last words"


def test_a_foundation_is_ready_before_the_others_and_ends_after_them(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    ends = tmp_path / "ends"
    source = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(float(sys.argv[2]))\n"
        "    open(sys.argv[1], 'a').write(sys.argv[3] + '\\n')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[4], 'w')\n"
        "time.sleep(600)\n"
    )

    def command(name: str, seconds: float) -> list[str]:
        return [sys.executable, "-c", source, str(ends), str(seconds), name, str(tmp_path / name)]

    ready = tmp_path / "ready"
    supervisor = Supervisor()
    supervisor.add("base", command("base", 0), os.environ, dependency=FileFoundation(ready))
    supervisor.add("slow", command("slow", 0.5), os.environ)
    supervisor.add("quick", command("quick", 0), os.environ)
    supervisor.start()
    try:
        wait_until((tmp_path / "base").exists)
        first = supervisor.pids()["base"]
        assert supervisor.pids().keys() == {"base"}
        # A program that dies before it is ready must not let the others start either.
        (tmp_path / "base").unlink()
        os.kill(first, signal.SIGKILL)
        wait_until((tmp_path / "base").exists)
        assert supervisor.pids().keys() == {"base"}
        ready.touch()
        wait_until(lambda: (tmp_path / "slow").exists() and (tmp_path / "quick").exists())
    finally:
        supervisor.stop(10)
    assert ends.read_text().split() == ["quick", "slow", "base"]


def test_a_program_that_dies_while_its_foundation_is_down_waits_for_it(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    supervisor = Supervisor()
    supervisor.add("base", SLEEP, os.environ, dependency=FileFoundation(ready))
    supervisor.add("user", SLEEP, os.environ)
    supervisor.start()
    try:
        wait_until(lambda: supervisor.alive() == {"base": True, "user": True})
        ready.unlink()
        before = supervisor.pids()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        # The program that it needs has the same backoff: by then both would be back.
        wait_until(lambda: supervisor.pids().get("base", before["base"]) != before["base"])
        assert not supervisor.alive()["user"]
        ready.touch()
        wait_until(lambda: supervisor.alive()["user"])
    finally:
        supervisor.stop(5)


def test_a_start_without_progress_is_killed_and_retried(
    tmp_path: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nomad_actors.processes.supervisor.STUCK_SECONDS", 1.5)
    progress = tmp_path / "progress"
    slow = f"import time\nwhile True:\n    open({str(progress)!r}, 'a').write('x')\n    time.sleep(0.05)"
    supervisor = Supervisor()
    supervisor.add(
        "slow", [sys.executable, "-c", slow], os.environ, dependency=FileFoundation(tmp_path / "never", progress)
    )
    stuck = Supervisor()
    stuck.add("stuck", SLEEP, os.environ, dependency=FileFoundation(tmp_path / "never"))
    supervisor.start()
    stuck.start()
    try:
        wait_until(progress.exists)
        getting_on = supervisor.pids()["slow"]
        wait_until(lambda: stuck.alive()["stuck"])
        first = stuck.pids()["stuck"]
        wait_until(lambda: stuck.pids().get("stuck", first) != first)
        assert supervisor.pids()["slow"] == getting_on
    finally:
        supervisor.stop(5)
        stuck.stop(5)
    assert "its start makes no progress" in caplog.text
    assert any(getattr(record, "nomad_fields", {}).get("why") == "its last words" for record in caplog.records)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL (out of memory?)"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed by SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 1)", f"killed by signal {signal.SIGRTMIN + 1}"),
        ("sys.exit(1)", "its last words"),
    ],
)
def test_the_last_output_does_not_explain_a_program_killed_by_a_signal(
    tmp_path: Path, wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture, end: str, why: str
) -> None:
    supervisor = Supervisor()
    command = [sys.executable, "-c", f"import os, signal, sys; {end}"]
    supervisor.add("base", command, os.environ, restart=False, dependency=FileFoundation(tmp_path))
    supervisor.start()
    try:
        wait_until(lambda: supervisor._children[0].gave_up)
    finally:
        supervisor.stop(5)
    assert [fields["why"] for record in caplog.records if "why" in (fields := getattr(record, "nomad_fields", {}))] == [
        why
    ]


@pytest.mark.parametrize("command", [["/nowhere/to/be/found"], [sys.executable, "-c", "import sys; sys.exit(3)"]])
def test_a_program_that_dies_for_hours_does_not_affect_others(
    command: list[str], wait_until: Callable[..., None]
) -> None:
    supervisor = Supervisor()
    supervisor.add("sleeper", SLEEP, os.environ)
    supervisor.add("crasher", command, os.environ)
    # Half a second doubled this often overflows a float.
    crasher = supervisor._children[1]
    crasher.deaths = 1_100
    supervisor.start()
    try:
        wait_until(lambda: crasher.deaths == 1_101)
        assert supervisor.watches()
        assert supervisor.alive()["sleeper"]
    finally:
        supervisor.stop(5)
    assert not supervisor.watches()


def test_a_program_that_needs_an_operator_again_after_running_is_logged_again(
    tmp_path: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nomad_actors.processes.supervisor.OPERATOR_BACKOFF_SECONDS", 0.1)
    mended, runs = tmp_path / "mended", tmp_path / "runs"
    script = f"[ -e {mended} ] || exit 78; trap 'exit 78' TERM; touch {runs}; while :; do sleep 0.05; done"
    supervisor = Supervisor()
    supervisor.add("part", ["sh", "-c", script], os.environ)
    (part,) = supervisor._children

    def logged() -> int:
        return caplog.text.count("cannot start until an operator acts")

    supervisor.start()
    try:
        wait_until(lambda: part.deaths >= 2)
        assert logged() == 1
        mended.touch()
        # It may run before the supervisor's thread has stored its process.
        wait_until(lambda: runs.exists() and "part" in supervisor.pids())
        mended.unlink()
        part.started_mono -= STEADY_SECONDS
        os.kill(supervisor.pids()["part"], signal.SIGTERM)
        wait_until(lambda: part.deaths == 1)
        wait_until(lambda: part.deaths >= 3)
        assert logged() == 2
    finally:
        supervisor.stop(5)


def test_a_program_that_ends_unexpectedly_with_0_is_restarted_and_logged(
    wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor()
    supervisor.add("quitter", [sys.executable, "-c", ""], os.environ)
    supervisor.start()
    try:
        wait_until(lambda: "ended, restarting" in caplog.text)
    finally:
        supervisor.stop(5)
    entries = [getattr(record, "nomad_fields", {}) for record in caplog.records if record.levelname == "ERROR"]
    assert (entries[0]["code"], entries[0]["why"]) == (0, "it ended as if it had been stopped, but nobody stopped it")
