"""What ESI costs: a job that ends in a 304, against one bare request; and the limiter's scripts in Redis."""

from __future__ import annotations

import contextlib
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dramatiq
import redis
import requests
from dramatiq import Worker

from demo import load
from demo.programs import wait_for
from nomad_actors.app import App, create_app
from nomad_actors.broker import JobBroker
from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, Route
from nomad_actors.esi.limits import Limiter, Outcome
from nomad_actors.esi.limits.keys import key
from nomad_actors.esi.limits.loader import script
from nomad_actors.esi.routes import COMPATIBILITY_DATE
from nomad_actors.jobs.token_keeper import TokenKeeper
from nomad_actors.processes.parent import end_with_parent
from nomad_actors.queues import NewJob, Queue
from nomad_actors.settings import Settings

from .systems import THREADS

Measured = Mapping[str, float]

QUEUE = "esi-refresh"
CHARACTERS = 25
#: Documents that change rarely, whose interval is an hour.
QUIET = tuple(
    ROUTES[f"/characters/{{character_id}}{name}"] for name in ("/clones", "/implants", "/attributes", "/mail/lists")
)
HOUR_SECONDS = 3_700
ROUNDS = 3
#: Some documents change all the same.
LEAST_EXPECTED = 0.9
#: Most characters of one installation, and those of them whose requests are sent.
MANY, MEASURED = 5_000, 100
WINDOW_SECONDS = 900
UNDER_WAY = 20
_APPLICATION = "bench"


def not_modified(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Refresh unchanged documents with a real worker; processor time of a job in bare requests of the same kind."""
    if not isinstance(broker, JobBroker):
        return {}
    with tempfile.TemporaryDirectory() as directory, _system(Path(directory), client) as (app, url, clock):
        characters = [each.character_id for each in app.store.logins.characters()]
        _run_jobs(app, characters)
        jobs, bare = [], []
        for _ in range(ROUNDS):
            clock.advance(seconds=HOUR_SECONDS)
            requests.post(f"{url}/sandbox/clock", json={"advance_seconds": HOUR_SECONDS}, timeout=10)
            for character_id in characters:
                TokenKeeper(app.services).get_token(character_id)
            jobs.append(_run_jobs(app, characters, "not_modified"))
            bare.append(_run_bare(app, url, characters))
        per_job, per_request = statistics.median(jobs), statistics.median(bare)
        return {
            "304, ms of processor per job": per_job,
            "bare request, ms of processor": per_request,
            "304, bare requests per job": per_job / per_request,
        }


@contextlib.contextmanager
def _system(directory: Path, client: redis.Redis) -> Iterator[tuple[App, str, ManualClock]]:
    """A sandbox in a process of its own, and an application with its logins; both clocks move only when told."""
    ready = directory / "url"
    command = [sys.executable, "-m", "sandbox", f"--characters={CHARACTERS}", f"--ready-file={ready}", "--speed=0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=end_with_parent) as sandbox:
        wait_for(ready.exists, seconds=20, what="the sandbox")
        url = ready.read_text().strip()
        shown = requests.get(f"{url}/sandbox/clock", timeout=10).json()
        clock = ManualClock(shown["now_ms"])
        app = create_app(_settings(directory, url, client), clock=clock)
        try:
            load.save_logins(app, url)
            yield app, url, clock
        finally:
            app.close()
            sandbox.kill()


def _settings(directory: Path, url: str, client: redis.Redis) -> Settings:
    options = client.connection_pool.connection_kwargs
    return Settings.from_env(
        {
            "REDIS_URL": f"redis://{options['host']}:{options['port']}/{options.get('db') or 0}",
            "DATABASE_URL": f"sqlite:///{directory / 'bench.db'}",
            "NOMAD_VAR_DIR": str(directory),
            "NOMAD_METRICS_PORT": "0",
            "ESI_BASE_URL": url,
            "SSO_BASE_URL": url,
            "EVE_CLIENT_ID": "sandbox-client",
            "EVE_CLIENT_SECRET": "sandbox-secret",
            "ESI_USER_AGENT": "nomad-actors-bench/1 (bench@example.com)",
        }
    )


def _run_jobs(app: App, characters: list[int], outcome: str = "updated") -> float:
    """Run a job for each quiet route of each character; return this process's processor time per job (ms)."""
    queue = app.queues.get_queue(QUEUE)
    queue.pause()
    new = [_job(character_id, route) for character_id in characters for route in QUIET]
    added = app.queues.add_jobs(new)
    worker = Worker(app.broker, queues={QUEUE}, worker_threads=THREADS)
    worker.start()
    try:
        began = time.process_time()
        queue.resume()
        wait_for(lambda: not _at_work(queue), seconds=120, what="the end of the jobs")
        took_ms = (time.process_time() - began) * 1000
    finally:
        worker.stop()
    ended = [job.returnvalue["outcome"] for each in added if (job := queue.get(each.id)) and job.returnvalue]
    if ended.count(outcome) < len(new) * LEAST_EXPECTED:
        raise RuntimeError(f"only {ended.count(outcome)} of {len(new)} jobs ended as {outcome}")
    return took_ms / len(new)


def _at_work(queue: Queue) -> int:
    counts = queue.snapshot(window_seconds=0).counts
    return int(counts["waiting"] + counts["active"])


def _job(character_id: int, route: Route) -> NewJob:
    data = {"character_id": character_id, "user_id": 1, "endpoint": route.name, "requested_by": "schedule"}
    return NewJob(queue=QUEUE, job_type="esi-data-refresh", data=data)


def _run_bare(app: App, url: str, characters: list[int]) -> float:
    """Send the same requests with `requests.get` alone; return this process's processor time of one (ms)."""
    asked = []
    for character_id in characters:
        token = TokenKeeper(app.services).get_token(character_id).access_token
        for route in QUIET:
            state = app.store.documents.state(character_id, route.name)
            assert state is not None
            assert state.etag is not None
            headers = {
                "Authorization": f"Bearer {token}",
                "If-None-Match": state.etag,
                "X-Compatibility-Date": COMPATIBILITY_DATE,
            }
            asked.append((url + route.path(character_id), headers))
    began = time.process_time()
    statuses = [requests.get(address, headers=headers, timeout=10).status_code for address, headers in asked]
    took_ms = (time.process_time() - began) * 1000
    if statuses.count(304) < len(asked):
        raise RuntimeError(f"only {statuses.count(304)} of {len(asked)} bare requests were answered with 304")
    return took_ms / len(asked)


def limiter_scripts(broker: dramatiq.Broker, client: redis.Redis) -> Measured:
    """Reserve and settle as 5,000 characters do; µs of Redis' time per call of each script, from its slow log."""
    if not isinstance(broker, JobBroker):
        return {}
    options = client.connection_pool.connection_kwargs
    decoding = redis.Redis(host=options["host"], port=options["port"], decode_responses=True)
    clock = ManualClock(1_795_453_200_000)
    limiter = Limiter(decoding, clock=clock, application=_APPLICATION, concurrency=2 * UNDER_WAY)
    _ask(limiter, clock, WINDOW_SECONDS)
    _copy_buckets(decoding)
    for number in range(UNDER_WAY):
        limiter.reserve(list(ROUTES.values())[number], number)
    client.config_set("slowlog-max-len", 1_000_000)
    client.config_set("slowlog-log-slower-than", 0)
    client.execute_command("SLOWLOG", "RESET")
    try:
        _ask(limiter, clock, WINDOW_SECONDS // 2)
        entries: list[Any] = client.execute_command("SLOWLOG", "GET", 1_000_000)
    finally:
        client.config_set("slowlog-log-slower-than", 10_000)
    return _by_script(entries)


def _ask(limiter: Limiter, clock: ManualClock, seconds: int) -> None:
    """Reserve and settle the requests of some characters, at their intervals."""
    step_seconds = 60
    for second in range(0, seconds, step_seconds):
        clock.advance(seconds=step_seconds)
        for route in ROUTES.values():
            if second % max(route.interval_seconds, step_seconds) == 0:
                for character_id in range(MEASURED):
                    _request(limiter, route, character_id)


def _copy_buckets(client: redis.Redis) -> None:
    """Give all other characters such buckets, too."""
    with client.pipeline(transaction=False) as pipe:
        for name in client.scan_iter(match=key("bucket", "*"), count=1_000):
            bucket, _, character_id = name.removeprefix(key("bucket")).rpartition(":")
            for other in range(int(character_id) + MEASURED, MANY, MEASURED):
                pipe.copy(name, key("bucket", f"{bucket}:{other}"))
        pipe.execute()


def _request(limiter: Limiter, route: Route, character_id: int) -> None:
    limiter.settle(limiter.reserve(route, character_id), Outcome(spent=1, ok=True))


def _by_script(entries: list[Any]) -> Measured:
    names = {hashlib.sha1(script(name).encode()).hexdigest(): name for name in ("reserve", "settle")}
    times_us: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        command, sha = (entry[3][0].decode().upper(), entry[3][1].decode()) if len(entry[3]) > 1 else ("", "")
        if command == "EVALSHA" and sha in names:
            times_us[names[sha]].append(entry[2])
    measured = {}
    for name in names.values():
        found = sorted(times_us[name])
        measured[f"limiter, {name}, p50 µs"] = statistics.median(found)
        measured[f"limiter, {name}, p99 µs"] = found[len(found) * 99 // 100]
    return measured
