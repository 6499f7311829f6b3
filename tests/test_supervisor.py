"""The supervisor: what dies is started again, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from nomad_actors.supervisor import Supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
#: Ignores SIGTERM, and says when it does.
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)",
]


def test_a_program_that_dies_is_started_again(wait_until: Callable[..., None]) -> None:
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


def test_a_program_that_keeps_dying_is_started_ever_more_slowly(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
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
        # Another one that dies now is started again after the same backoff: by then the first would be back too.
        first = supervisor.pids()["sleeper"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.pids().get("sleeper", first) != first)
        assert supervisor.pids().keys() == {"sleeper"}
    finally:
        supervisor.stop(5)


def test_what_does_not_stop_in_time_is_killed(tmp_path: Path, wait_until: Callable[..., None]) -> None:
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
        "from nomad_actors.supervisor import Supervisor\n"
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
