"""Before workers are forked, a separate process checks that they can start, whatever the users' modules do."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nomad_actors.processes.local_redis import free_port
from tests.support.processes import ROOT, environ_for, program

pytestmark = pytest.mark.slow

WORKERS = ["nomad_actors.cli", "run", "workers"]
JOB_TYPE = """
from nomad_actors import JobType, Payload, Result

def run(payload: Payload) -> Result:
    return Result()

OWN = JobType(name="own", queue="own", payload=Payload, result=Result, run=run)
"""
NEVER_ENDS = "import threading; threading.Thread(target=threading.Event().wait).start()"
#: Things that Python waits for at the end of a process, and code that would run after it.
BEGINNINGS = f"""
{NEVER_ENDS}
import concurrent.futures, subprocess
concurrent.futures.ThreadPoolExecutor().submit(threading.Event().wait)
subprocess.Popen(['sleep', '3600.5'])
"""


@pytest.fixture
def environ(tmp_path: Path, redis_url: str) -> dict[str, str]:
    return environ_for(
        tmp_path,
        redis_url,
        NOMAD_MODULES="own",
        NOMAD_METRICS_PORT=str(free_port()),
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    )


@pytest.fixture
def begins(tmp_path: Path) -> Callable[[str], None]:
    """`begins(code)`: the user's module runs this at import, and then declares a job type."""

    def write(code: str) -> None:
        (tmp_path / "own.py").write_text(f"{code}\n{JOB_TYPE}", encoding="utf-8")

    return write


def output_of(directory: Path) -> str:
    return (directory / "output.log").read_text(errors="replace")


def test_endless_code_of_a_module_delays_no_start_and_leaves_no_process(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None], begins: Callable[[str], None]
) -> None:
    begins(BEGINNINGS)
    with program(WORKERS, environ, tmp_path) as main:
        wait_until(lambda: "ready for action" in output_of(tmp_path), timeout_seconds=30, what="a worker")
        (worker,) = psutil.Process(main.pid).children()
        left = [each for each in psutil.process_iter() if _is_sleep(each) and each.ppid() != worker.pid]
        assert left == []
        # Such a worker waits for its thread: that is the module's responsibility.
        for each in (*worker.children(), worker):
            each.kill()
        main.wait(timeout=20)


def _is_sleep(process: psutil.Process) -> bool:
    try:
        return process.cmdline() == ["sleep", "3600.5"]
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("code", "exit_code", "line"),
    [
        (f"{NEVER_ENDS}\nraise RuntimeError('no')", 2, "NOMAD_MODULES .*RuntimeError: no"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 1, "was killed by SIGKILL: .*out of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 1, "was killed by SIGSEGV"),
        ("import os; os._exit(0)", 1, "exited with 0, which a module"),
    ],
    ids=["raises beside a thread", "SIGKILL", "SIGSEGV", "_exit"],
)
def test_a_failed_start_logs_the_reason_in_one_line_and_leaves_nothing(
    environ: dict[str, str], tmp_path: Path, begins: Callable[[str], None], code: str, exit_code: int, line: str
) -> None:
    begins(code)
    with program(WORKERS, environ, tmp_path) as main:
        assert main.wait(timeout=30) == exit_code
    critical = [each for each in output_of(tmp_path).splitlines() if "level=critical" in each]
    assert len(critical) == 1, output_of(tmp_path)
    assert re.search(line, critical[0])


def test_ctrl_c_while_a_module_hangs_ends_the_start_immediately_in_one_line(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None], begins: Callable[[str], None]
) -> None:
    begins("import time; print('hanging'); time.sleep(3600)")
    with program(WORKERS, environ, tmp_path) as main:
        wait_until(lambda: "hanging" in output_of(tmp_path), timeout_seconds=30, what="the module")
        (checking,) = psutil.Process(main.pid).children()
        began = time.monotonic()
        main.send_signal(signal.SIGINT)
        assert main.wait(timeout=10) == 130
        assert time.monotonic() - began < 5
        assert not checking.is_running()
    (line,) = [each for each in output_of(tmp_path).splitlines() if "hanging" not in each and "key" not in each]
    assert "interrupted" in line
