"""An admin over a million waiting jobs, a million kept ones and a hundred thousand failed ones answers as ever."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
import requests

from nomad_actors.app import QueueAccess, open_queues
from nomad_actors.local_redis import LocalRedis
from nomad_actors.processes import end_with_parent
from nomad_actors.queues import NewJob
from nomad_actors.settings import Settings

from .million_jobs import LETTER

WAITING, COMPLETED, FAILED = 1_000_000, 1_000_000, 100_000
#: From here on the proof is of the whole million; a shorter one takes a part of it.
WHOLE_SECONDS = 300.0
#: How often everything is asked. Of a few answers the 99th percentile would be the slowest, a hiccup of the machine:
#: from so many seconds on there are enough to judge that one too.
ROUNDS, FEW_ROUNDS = 100, 20
JUDGED_SECONDS = 10.0
CHARACTERS = 1_000
BATCH = 10_000
MEDIAN_MS, P99_MS = 50.0, 150.0
SLOW_US = 5_000
#: What the admin may have grown by between the first round of questions and the last, bytes.
GROWTH_BYTES = 8 * 1024 * 1024
QUEUE = f"/admin/jobs/queues/{LETTER.queue}"


@dataclass(frozen=True)
class Question:
    """One request, and what is said of it."""

    name: str
    ask: Callable[[requests.Session, str], requests.Response]


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
            questions = _questions(session, url, access, draw)
            rounds = ROUNDS if seconds >= JUDGED_SECONDS else FEW_ROUNDS
            times, early, late = _asked(session, url, questions, client, process, rounds=rounds)
        slow = [f"{entry['duration'] / 1000:.1f} ms {entry['command'][:80]!r}" for entry in client.slowlog_get(20)]
    worst = max(times, key=lambda each: statistics.median(times[each]))
    tail = max(times, key=lambda each: _p99(times[each]))
    median_ms = statistics.median(times[worst])
    said = (
        f"{loaded}; {len(times)} questions: the slowest {worst} {median_ms:.1f} ms at the median, "
        f"{tail} {_p99(times[tail]):.1f} ms at p99; the admin {early / 2**20:.1f} → {late / 2**20:.1f} MiB"
    )
    slow_ones = {
        each: f"{statistics.median(found):.1f} and {_p99(found):.1f} ms"
        for each, found in times.items()
        if statistics.median(found) > MEDIAN_MS or (_p99(found) > P99_MS and rounds == ROUNDS)
    }
    assert not slow_ones, f"{said}; too slow (median and p99): {slow_ones}"
    assert not slow, f"{said}; commands over {SLOW_US // 1000} ms: {slow}"
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
    counts = queue.counts()
    told = ", ".join(f"{counts[state]:,} {state}" for state in ("waiting", "completed", "failed"))
    return f"{told} (added {rate:,.0f} a second)"


def _add(access: QueueAccess, count: int, *, fail: bool) -> None:
    for first in range(0, count, BATCH):
        access.queues.add_jobs(
            [
                NewJob(
                    queue=LETTER.queue,
                    job_type=LETTER.name,
                    data={"character_id": number % CHARACTERS, "number": number, "fail": fail},
                )
                for number in range(first, min(count, first + BATCH))
            ]
        )


def _questions(session: requests.Session, url: str, access: QueueAccess, draw: random.Random) -> Sequence[Question]:
    """Return every GET of the admin's own document, lists in all their forms, the pages, and what changes something."""
    queue = access.queues.get_queue(LETTER.queue)
    ids = {state: queue.jobs(state, 0, 0)[0].id for state in ("waiting", "completed", "failed")}
    (fault, *_) = queue.failures(limit=1).faults
    paths = session.get(f"{url}/admin/openapi.json", timeout=30).json()["paths"]
    known = {"{queue}": LETTER.queue, "{jobId}": ids["failed"]}
    gets = [path for path, operations in paths.items() if "get" in operations]
    for text, value in known.items():
        gets = [path.replace(text, value) for path in gets]
    gets = [path for path in gets if "{" not in path]
    states = ("waiting", "completed", "failed", "delayed", "active", "waiting,completed,failed")
    gets += [f"{QUEUE}/jobs?status={state}" for state in states]
    gets += [
        f"{QUEUE}/jobs?status=waiting,completed,failed&field=character_id={{character}}",
        f"{QUEUE}/jobs?status=failed&fingerprint={fault.fingerprint}",
        f"{QUEUE}/jobs/{ids['waiting']}",
        f"{QUEUE}/jobs/{ids['completed']}",
        "/admin/",
        f"/admin/queues/{LETTER.queue}",
        f"/admin/queues/{LETTER.queue}?status=failed",
        f"/admin/queues/{LETTER.queue}/jobs/{ids['failed']}",
        "/admin/audit",
    ]
    deep = [_deep(session, url, state) for state in ("waiting", "completed", "failed")]
    found = [Question(path, _get(path, draw)) for path in [*gets, *deep]]
    counted = {"action": "remove", "filter": {"fields": {"character_id": "7"}}}
    limits = {"concurrency": 50, "starts": None, "periodMs": None, "maxLength": None}
    job = {"name": LETTER.name, "data": {"character_id": 1, "number": 1}}
    changes: list[tuple[str, str, object]] = [
        ("POST", f"{QUEUE}/pause", {"reason": "a proof", "forMs": 60_000}),
        ("POST", f"{QUEUE}/resume", {}),
        ("POST", "/admin/jobs/esi/pause", {}),
        ("POST", "/admin/jobs/esi/resume", {}),
        ("PUT", f"{QUEUE}/limits", limits),
        ("POST", f"{QUEUE}/jobs", job),
        ("POST", f"{QUEUE}/batch", {"jobs": [job] * 100}),
        ("POST", f"{QUEUE}/bulk", counted),
        ("POST", f"{QUEUE}/clean", {"status": "completed", "grace": 0, "limit": 100}),
    ]
    found += [Question(f"{method} {path}", _change(method, path, body)) for method, path, body in changes]
    return found


def _deep(session: requests.Session, url: str, state: str) -> str:
    """Return the address of a page some thousands of jobs down a list."""
    cursor = ""
    for _ in range(5):
        told = session.get(f"{url}{QUEUE}/jobs?status={state}&limit=1000&cursor={cursor}", timeout=60).json()
        if told["nextCursor"] is None:
            break
        cursor = told["nextCursor"]
    return f"{QUEUE}/jobs?status={state}&cursor={cursor}"


def _get(path: str, draw: random.Random) -> Callable[[requests.Session, str], requests.Response]:
    return lambda session, url: session.get(
        url + path.replace("{character}", str(draw.randrange(CHARACTERS))), timeout=60
    )


def _change(method: str, path: str, body: object) -> Callable[[requests.Session, str], requests.Response]:
    return lambda session, url: session.request(method, url + path, json=body, timeout=60)


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
    for number in range(-2, rounds):
        if number == 0:
            early = process.memory_info().rss
            client.config_set("slowlog-log-slower-than", SLOW_US)
            client.slowlog_reset()
        for question in questions:
            began = time.perf_counter()
            answer = question.ask(session, url)
            took_ms = (time.perf_counter() - began) * 1000
            # Nobody serves the queue here, and health and the doctor say so.
            expected = answer.ok or (answer.status_code == 503 and "Retry-After" not in answer.headers)
            assert expected, f"{question.name} answered {answer.status_code}: {answer.text[:300]}"
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
