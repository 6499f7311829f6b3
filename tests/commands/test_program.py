"""The program in its own process: streams, colour, signals, and a Redis that is down."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nomad_actors.app import QueueAccess
from nomad_actors.processes.local_redis import LocalRedis, free_port
from tests.support.processes import program

COMMAND = [sys.executable, "-m", "nomad_actors.cli"]


def nomad(environ: dict[str, str], directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, cwd=directory, capture_output=True, text=True, timeout=30, check=False
    )


def test_without_redis_a_command_ends_with_5_and_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    environ["REDIS_URL"] = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
    result = nomad(environ, tmp_path, "queues", "--json")
    assert (result.returncode, result.stdout) == (5, "")
    assert "Connection refused; see: nomad doctor" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    doctor = nomad(environ, tmp_path, "doctor", "--json")
    assert doctor.returncode == 1
    first = json.loads(doctor.stdout)["checks"][0]
    assert (first["name"], first["status"]) == ("redis", "problem")
    assert "s3cret" not in doctor.stdout + doctor.stderr


def test_a_hanging_redis_is_reported_within_seconds(
    environ: dict[str, str], tmp_path: Path, own_redis: LocalRedis
) -> None:
    environ["REDIS_URL"] = own_redis.url
    assert own_redis.process is not None
    began = time.monotonic()
    assert nomad(environ, tmp_path, "queues").returncode == 0
    normal_seconds = time.monotonic() - began
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        for line in ("queues", "pause shop", "doctor"):
            began = time.monotonic()
            result = nomad(environ, tmp_path, *line.split())
            # It waits two seconds longer than for a working Redis, however busy this machine is; once it waited twenty.
            assert time.monotonic() - began < 2 * normal_seconds + 10, line
            if line == "doctor":
                assert (result.returncode, "does not answer" in result.stdout) == (1, True)
            else:
                assert (result.returncode, result.stdout, "Timeout" in result.stderr) == (5, "", True)
    finally:
        own_redis.process.send_signal(signal.SIGCONT)


def test_a_watch_repeats_and_ends_on_ctrl_c(
    environ: dict[str, str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    output = tmp_path / "output.log"
    arguments = ["nomad_actors.cli", "queues", "--watch", "--every", "0.1", "--json"]
    with program(arguments, environ, tmp_path) as process:
        wait_until(lambda: output.read_text().count('{"queues"') >= 3, timeout_seconds=20, what=output.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    assert all(json.loads(line)["queues"] for line in output.read_text().splitlines())


def test_on_a_terminal_it_asks_for_confirmation(
    environ: dict[str, str], tmp_path: Path, order: Callable[..., str], access: QueueAccess
) -> None:
    job_id, queue = order(), access.queues.get_queue("shop")
    for reply, code in (("n", 1), ("y", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, f"{reply}\n".encode())
        arguments = [*COMMAND, "remove", job_id]
        result = subprocess.run(
            arguments, env=environ, cwd=tmp_path, stdin=theirs, capture_output=True, text=True, timeout=30, check=False
        )
        os.close(ours)
        os.close(theirs)
        assert (result.returncode, "[y/N]" in result.stderr) == (code, True), result.stderr
        assert (queue.get(job_id) is None) == (reply == "y")


def on_a_terminal(environ: dict[str, str], directory: Path, *arguments: str) -> str:
    """Return what the command writes on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], env=environ, cwd=directory, stdout=theirs) as process:
        os.close(theirs)
        output = b""
        try:
            while part := os.read(ours, 4096):
                output += part
        except OSError:
            pass  # Linux reports the end of a terminal this way.
        process.wait(timeout=20)
    os.close(ours)
    return output.decode()


def test_colour_is_used_only_on_terminals_that_want_it(environ: dict[str, str], tmp_path: Path) -> None:
    environ |= {"TERM": "xterm", "COLUMNS": "80"}
    assert "\x1b[31m" in on_a_terminal(environ, tmp_path, "queues")
    plain = on_a_terminal({**environ, "NO_COLOR": "1"}, tmp_path, "queues")
    assert "\x1b[3" not in plain
    assert "QUEUE" in plain
