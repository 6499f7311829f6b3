"""The scheduler as a process: it uses few resources, single schedules can be stopped and started, and it restarts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from nomad_actors.app import App, create_app
from nomad_actors.scheduler import Schedules
from nomad_actors.settings import Settings
from tests.support.processes import environ_for, program

ARGUMENTS = ["nomad_actors.scheduler"]


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """The environment of this test's scheduler."""
    return environ_for(tmp_path, redis_url)


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[App]:
    """The callers' application beside the scheduler."""
    app = create_app(Settings.from_env(environ))
    yield app
    app.close()


@pytest.fixture
def schedules(app: App) -> Schedules:
    """Its schedules."""
    return Schedules(app.queues)


@pytest.mark.slow
def test_an_idle_scheduler_costs_a_command_a_second_and_half_a_percent_of_a_core(
    environ: dict[str, str],
    tmp_path: Path,
    schedules: Schedules,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
) -> None:
    def commands() -> int:
        return int(redis_client.info("stats")["total_commands_processed"])

    with program(ARGUMENTS, environ, tmp_path) as process:
        wait_until(lambda: schedules.book.schedulers(), timeout_seconds=20)
        for state in schedules.all():
            schedules.stop_job(state.schedule.name)
        time.sleep(2.5)
        measured = psutil.Process(process.pid)
        before, cpu = commands(), sum(measured.cpu_times()[:2])
        time.sleep(16.0)
        used, counted = sum(measured.cpu_times()[:2]) - cpu, commands() - before - 1
    # One heartbeat of three commands more or less, depending on the time.
    assert counted <= 16 + 3, f"{counted} commands in 16 s"
    assert used <= 0.005 * 16, f"{used:.3f} s of processor time in 16 s"


def test_start_and_stop_apply_to_a_running_scheduler_and_survive_its_restart(
    environ: dict[str, str], tmp_path: Path, app: App, schedules: Schedules, wait_until: Callable[..., None]
) -> None:
    def added() -> int:
        return sum(app.queues.get_queue("cache-cleanup").counts().values())

    schedules.schedule_job("first", "@yearly", ("cache-cleanup", {"type": "expired"}), run_on_init=True, enabled=False)
    with program(ARGUMENTS, environ, tmp_path) as process:
        wait_until(lambda: schedules.book.schedulers(), timeout_seconds=20)
        schedules.stop_job("token-refresh")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert added() == 0
    with program(ARGUMENTS, environ, tmp_path):
        wait_until(lambda: len(schedules.book.schedulers()) == 2, timeout_seconds=20)
        assert not schedules.get("token-refresh").schedule.enabled
        assert not schedules.get("first").schedule.enabled
        schedules.start_job("first")
        # Its first run shows that the scheduler has loaded it.
        wait_until(lambda: added() == 1, timeout_seconds=2.0)
