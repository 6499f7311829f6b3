"""An admin stays fast with a million waiting, a million completed and a hundred thousand failed jobs."""

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
#: A proof of this duration uses the whole million; a shorter one a share of it.
FULL_SECONDS = 300.0
#: How often every request is sent.
ROUNDS, FEW_ROUNDS, WARM_ROUNDS = 100, 2, 1
#: A proof of this duration uses the promised limits in milliseconds. A shorter one has few responses, on a machine
#: with other work; it still notices times that grow with the number of jobs, which are far more than ten times as slow.
STRICT_SECONDS = 30.0
SLACK = 10
BATCH = 10_000
DELAYED, DELAY_MS = 2_000, 3_600_000
MEDIAN_MS, P99_MS = 50.0, 150.0
SLOW_US = 5_000
#: Allowed growth of the admin between the first round of requests and the last, bytes.
GROWTH_BYTES = 8 * 1024 * 1024


def million(draw: random.Random, seconds: float) -> str:
    """Fill the queue by bulk calls and workers, then send the admin every request many times."""
    share = min(1.0, seconds / FULL_SECONDS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        server = LocalRedis(directory, ends_with_parent=True).start()
        stack.callback(server.stop)
        environ = _environ(directory, server.url)
        access = open_queues(Settings.from_env(environ))
        stack.callback(access.close)
        loaded = _load(access, environ, directory, share)
        client = redis.Redis.from_url(server.url)
        stack.callback(client.close)
        url, process = stack.enter_context(_admin(environ, directory))
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {read_or_make_token(access.settings.var_dir)}"
            rounds, slack = (ROUNDS, 1) if seconds >= STRICT_SECONDS else (FEW_ROUNDS, SLACK)
            # Redis also counts time in which the machine runs something else.
            slow_us = SLOW_US * (1 if slack == 1 else 4 * slack)
            client.config_set("slowlog-log-slower-than", slow_us)
            questions = Questions(access, session, url, draw).all(rounds + WARM_ROUNDS)
            times, early, late = _measure(session, url, questions, client, process, rounds=rounds)
        slow = [f"{entry['duration'] / 1000:.1f} ms {entry['command'][:80]!r}" for entry in client.slowlog_get(20)]
    worst = max(times, key=lambda each: statistics.median(times[each]))
    tail = max(times, key=lambda each: _p99(times[each]))
    median_ms = statistics.median(times[worst])
    summary = (
        f"{loaded}; {len(times)} kinds of requests: the slowest {worst} {median_ms:.1f} ms at the median, "
        f"{tail} {_p99(times[tail]):.1f} ms at p99 (bounds {MEDIAN_MS * slack:g} and {P99_MS * slack:g} ms); "
        f"the admin {early / 2**20:.1f} → {late / 2**20:.1f} MiB"
    )
    too_slow = {
        each: f"{statistics.median(found):.1f} and {_p99(found):.1f} ms"
        for each, found in times.items()
        if statistics.median(found) > MEDIAN_MS * slack or _p99(found) > P99_MS * slack
    }
    assert not too_slow, f"{summary}; too slow (median and p99): {too_slow}"
    assert not slow, f"{summary}; commands over {slow_us // 1000} ms: {slow}"
    assert late - early <= GROWTH_BYTES, summary
    return summary


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
        "ESI_USER_AGENT": "nomad-chaos/1 (chaos@example.com)",
        "LOG_LEVEL": "error",
        "NOMAD_KEEP_COMPLETED_POST": f"{2 * COMPLETED}/24h",
        "NOMAD_KEEP_FAILED_POST": f"{2 * FAILED}/24h",
    }


def _load(access: QueueAccess, environ: Mapping[str, str], directory: Path, share: float) -> str:
    """Fill the queue, running jobs with real workers; return the counts and the rate."""
    queue = access.queues.get_queue(LETTER.queue)
    _add(access, int(FAILED * share), fail=True)
    _add(access, int(COMPLETED * share), fail=False)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(_program(["nomad_actors.cli", "run", "workers"], environ, directory))
        deadline = time.monotonic() + 1800
        while (counts := queue.counts())["waiting"] + counts["active"]:
            assert time.monotonic() < deadline, f"not drained: {counts}"
            time.sleep(0.2)
    began = time.monotonic()
    _add(access, int(WAITING * share), fail=False)
    rate = int(WAITING * share) / (time.monotonic() - began)
    _add(access, DELAYED, fail=False, delay_ms=DELAY_MS)
    counts = queue.counts()
    counted = ", ".join(f"{counts[state]:,} {state}" for state in ("waiting", "completed", "failed"))
    return f"{counted} (added {rate:,.0f} per second)"


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


def _measure(
    session: requests.Session,
    url: str,
    questions: Sequence[Question],
    client: redis.Redis,
    process: psutil.Process,
    *,
    rounds: int,
) -> tuple[Mapping[str, list[float]], int, int]:
    """Return the times of each request (ms) and the admin's memory (bytes) after the first and the last rounds."""
    times: dict[str, list[float]] = {question.name: [] for question in questions}
    early = 0
    for number in range(-WARM_ROUNDS, rounds):
        if number == 0:
            early = process.memory_info().rss
            client.slowlog_reset()
        for question in questions:
            address = url + question.path()
            began = time.perf_counter()
            response = question.ask(session, address)
            took_ms = (time.perf_counter() - began) * 1000
            # No worker serves the queue now, and health and the doctor report that.
            expected = response.ok or (response.status_code == 503 and "Retry-After" not in response.headers)
            assert expected, f"{question.name} answered {response.status_code}: {response.text[:300]}"
            question.learn(response)
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
