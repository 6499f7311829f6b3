"""An admin over a million waiting jobs, a million kept ones and a hundred thousand failed ones answers as ever."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import redis
import requests

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.queues import NewJob
from nomad_actors.settings import Settings
from nomad_actors.store.local_token import read_or_make_token

from .million_jobs import LETTER
from .million_questions import CHARACTERS, Question, Questions

WAITING, COMPLETED, FAILED = 1_000_000, 1_000_000, 100_000
#: From here on the proof is of the whole million; a shorter one takes a part of it.
WHOLE_SECONDS = 300.0
#: How often everything is asked.
ROUNDS, FEW_ROUNDS, WARM_ROUNDS = 100, 2, 1
#: From here on the bounds in milliseconds are the promised ones. A shorter run is one of few answers, on a machine
#: that does other things too: it notices what grows with the number of jobs, which is far beyond ten times as slow.
JUDGED_SECONDS = 30.0
SLACK = 10
BATCH = 10_000
DELAYED, DELAY_MS = 2_000, 3_600_000
MEDIAN_MS, P99_MS = 50.0, 150.0
SLOW_US = 5_000
#: What the admin may have grown by between the first round of questions and the last, bytes.
GROWTH_BYTES = 8 * 1024 * 1024


def million(draw: random.Random, seconds: float) -> str:
    """Load the queue by the bulk call and its workers, then ask the admin for everything, many times."""
    part = min(1.0, seconds / WHOLE_SECONDS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        server = LocalRedis(directory, dies_with_us=True).start()
        stack.callback(server.stop)
        environ = _environ(directory, server.url)
        access = open_queues(Settings.from_env(environ))
        stack.callback(access.close)
        loaded = _load(access, environ, directory, part)
        client = redis.Redis.from_url(server.url)
        stack.callback(client.close)
        url, process = stack.enter_context(_admin(environ, directory))
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {read_or_make_token(access.settings.var_dir)}"
            rounds, slack = (ROUNDS, 1) if seconds >= JUDGED_SECONDS else (FEW_ROUNDS, SLACK)
            # Redis counts the time in which the machine runs something else.
            slow_us = SLOW_US * (1 if slack == 1 else 4 * slack)
            client.config_set("slowlog-log-slower-than", slow_us)
            questions = Questions(access, session, url, draw).all(rounds + WARM_ROUNDS)
            times, early, late = _asked(session, url, questions, client, process, rounds=rounds)
        slow = [f"{entry['duration'] / 1000:.1f} ms {entry['command'][:80]!r}" for entry in client.slowlog_get(20)]
    worst = max(times, key=lambda each: statistics.median(times[each]))
    tail = max(times, key=lambda each: _p99(times[each]))
    median_ms = statistics.median(times[worst])
    said = (
        f"{loaded}; {len(times)} questions: the slowest {worst} {median_ms:.1f} ms at the median, "
        f"{tail} {_p99(times[tail]):.1f} ms at p99 (bounds {MEDIAN_MS * slack:g} and {P99_MS * slack:g} ms); "
        f"the admin {early / 2**20:.1f} → {late / 2**20:.1f} MiB"
    )
    slow_ones = {
        each: f"{statistics.median(found):.1f} and {_p99(found):.1f} ms"
        for each, found in times.items()
        if statistics.median(found) > MEDIAN_MS * slack or _p99(found) > P99_MS * slack
    }
    assert not slow_ones, f"{said}; too slow (median and p99): {slow_ones}"
    assert not slow, f"{said}; commands over {slow_us // 1000} ms: {slow}"
    assert late - early <= GROWTH_BYTES, said
    return said


def _environ(directory: Path, url: str) -> dict[str, str]:
    return {
        "PATH": str(Path(sys.executable).parent),
        "HOME": str(directory),
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "REDIS_URL": url,
        "DATABASE_URL": f"sqlite:///{directory / 'nomad.db'}",
        "NOMAD_VAR_DIR": str(directory / "var"),
        "NOMAD_MODULES": "chaos.million_jobs",
        "NOMAD_METRICS_PORT": "0",
        "ADMIN_PORT": "0",
        "LOG_LEVEL": "error",
        "NOMAD_KEEP_COMPLETED_POST": f"{2 * COMPLETED}/24h",
        "NOMAD_KEEP_FAILED_POST": f"{2 * FAILED}/24h",
    }


def _load(access: QueueAccess, environ: Mapping[str, str], directory: Path, part: float) -> str:
    """Fill the queue, what ended through real workers; return what was loaded and how fast."""
    queue = access.queues.get_queue(LETTER.queue)
    _add(access, int(FAILED * part), fail=True)
    _add(access, int(COMPLETED * part), fail=False)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(_program(["nomad_actors.cli", "run", "workers"], environ, directory))
        deadline = time.monotonic() + 1800
        while (counts := queue.counts())["waiting"] + counts["active"]:
            assert time.monotonic() < deadline, f"not drained: {counts}"
            time.sleep(0.2)
    began = time.monotonic()
    _add(access, int(WAITING * part), fail=False)
    rate = int(WAITING * part) / (time.monotonic() - began)
    _add(access, DELAYED, fail=False, delay_ms=DELAY_MS)
    counts = queue.counts()
    told = ", ".join(f"{counts[state]:,} {state}" for state in ("waiting", "completed", "failed"))
    return f"{told} (added {rate:,.0f} a second)"


def _add(access: QueueAccess, count: int, *, fail: bool, delay_ms: int = 0) -> None:
    for first in range(0, count, BATCH):
        access.queues.add_jobs(
            [
                NewJob(
                    queue=LETTER.queue,
                    job_type=LETTER.name,
                    data={"character_id": number % CHARACTERS, "number": number, "fail": fail},
                    delay=delay_ms,
                )
                for number in range(first, min(count, first + BATCH))
            ]
        )


def _asked(
    session: requests.Session,
    url: str,
    questions: Sequence[Question],
    client: redis.Redis,
    process: psutil.Process,
    *,
    rounds: int,
) -> tuple[Mapping[str, list[float]], int, int]:
    """Return what each question took (ms), and the admin's memory (bytes) after the first rounds and after the last."""
    times: dict[str, list[float]] = {question.name: [] for question in questions}
    early = 0
    for number in range(-WARM_ROUNDS, rounds):
        if number == 0:
            early = process.memory_info().rss
            client.slowlog_reset()
        for question in questions:
            address = url + question.path()
            began = time.perf_counter()
            answer = question.ask(session, address)
            took_ms = (time.perf_counter() - began) * 1000
            # Nobody serves the queue here, and health and the doctor say so.
            expected = answer.ok or (answer.status_code == 503 and "Retry-After" not in answer.headers)
            assert expected, f"{question.name} answered {answer.status_code}: {answer.text[:300]}"
            question.learn(answer)
            if number >= 0:
                times[question.name].append(took_ms)
    return times, early, process.memory_info().rss


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]


@contextmanager
def _admin(environ: Mapping[str, str], directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    ready = directory / "ready"
    with _program(["admin", "--ready-file", str(ready)], environ, directory) as process:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, "the admin did not start"
            assert time.monotonic() < deadline, "the admin does not answer"
            time.sleep(0.05)
        yield ready.read_text().strip(), psutil.Process(process.pid)


@contextmanager
def _program(arguments: list[str], environ: Mapping[str, str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=dict(environ),
            cwd=directory,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)
