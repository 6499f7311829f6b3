"""The output of commands that read: tables, a job's story, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from nomad_actors.app import QueueAccess
from nomad_actors.broker import JobBroker, keys
from nomad_actors.broker.client.queue_facts import MARK
from nomad_actors.testing import WorkerProcess, running
from tests.support.processes import ROOT

from .conftest import Nomad

NomadJson = Callable[..., Any]
Order = Callable[..., str]


def test_queues_are_shown_with_counts_workers_and_pauses(
    nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess
) -> None:
    order()
    order(delay=60_000)
    access.queues.get_queue("shop").pause()
    (shop,) = (queue for queue in nomad_json("queues")["queues"] if queue["queueName"] == "shop")
    assert (shop["paused"], shop["delayed"], shop["workers"], shop["failureRate"]) == (1, 1, [], None)
    assert [(pause["scope"], pause["until"]) for pause in shop["pauses"]] == [("queue", None)]
    shown = nomad("queues").stdout
    assert shown.splitlines()[0].split()[:3] == ["QUEUE", "WAITING", "ACTIVE"]
    assert "shop (paused)" in shown
    assert "nomad resume shop" in shown
    assert "shop: no live worker; start one: nomad run workers" in shown
    assert "\x1b" not in shown
    table = shown.splitlines()[: 1 + len(access.queues.names())]
    assert max(map(len, table)) <= 80


def test_failures_and_workers_are_counted(
    nomad_json: NomadJson, order: Order, access: QueueAccess, working: Any, wait_until: Callable[..., None]
) -> None:
    order(end="fail")
    order()
    with working():
        access.broker.join("shop", timeout=5000)
        (shop,) = (queue for queue in nomad_json("queues")["queues"] if queue["queueName"] == "shop")
    assert (shop["failureRate"], len(shop["workers"])) == (50.0, 1)


def test_workers_are_shown_with_their_running_jobs(
    nomad: Nomad,
    nomad_json: NomadJson,
    order: Order,
    access: QueueAccess,
    working: Any,
    wait_until: Callable[..., None],
) -> None:
    assert nomad("workers").stdout == "no live worker; start one: nomad run workers\n"
    job_id = order(end="hang")
    with working():
        wait_until(lambda: access.queues.get_queue("shop").counts()["active"])
        (worker,) = nomad_json("workers")["workers"]
        shown = nomad("workers").stdout
        story = nomad("job", job_id).stdout
        status = nomad_json("job", job_id)
    assert worker["queues"] == ["shop"]
    assert [(job["jobId"], job["queueName"]) for job in worker["running"]] == [(job_id, "shop")]
    assert job_id in shown
    assert f"started on {worker['name']}" in story
    assert "50 % (1 of 2) packing" in story
    assert status["worker"] == worker["name"]
    assert status["next"] == [f"nomad cancel {job_id} --reason …"]


def test_jobs_are_found_by_state_type_field_and_age(nomad: Nomad, nomad_json: NomadJson, order: Order) -> None:
    rifter, other = order(count=3, gift=True), order(item="slasher")
    later = order(item="breacher", delay=7_200_000)
    assert [job["id"] for job in nomad_json("jobs", "shop")["jobs"]] == [rifter, other, later]
    assert [job["id"] for job in nomad_json("jobs", "shop", "--field", "item=slasher")["jobs"]] == [other]
    assert [job["id"] for job in nomad_json("jobs", "shop", "-f", "count=3", "-f", "gift=true")["jobs"]] == [rifter]
    assert nomad_json("jobs", "shop", "--status", "failed") == {"jobs": [], "nextCursor": None}
    assert len(nomad_json("jobs", "shop", "--type", "order", "--since", "1h")["jobs"]) == 3
    # The delayed one is due later.
    assert [job["id"] for job in nomad_json("jobs", "shop", "--since", "0s")["jobs"]] == [later]
    first = nomad_json("jobs", "shop", "--limit", "1")
    second = nomad_json("jobs", "shop", "--limit", "1", "--cursor", first["nextCursor"])
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == [rifter, other]
    assert "nomad: jobs cannot be found by field 'size'" in nomad("jobs", "shop", "--field", "size=small").stderr
    shown = nomad("jobs", "shop").stdout
    assert [line.split()[:2] for line in shown.splitlines()[1:]][-1] == [later, "delayed"]
    assert "in 1h 59m" in shown or "in 2h" in shown


def test_a_failed_job_shows_its_story_and_what_to_do(
    nomad: Nomad, nomad_json: NomadJson, order: Order, access: QueueAccess, working: Any
) -> None:
    job_id = order(end="fail")
    with working():
        access.broker.join("shop", timeout=5000)
    shown = nomad("job", job_id).stdout
    for part in ("status    failed", "1 of 2 used", "PermanentError: no rifter in stock", "packed rifter"):
        assert part in shown
    assert "      Traceback (most recent call last):" in shown
    assert 'File "' in shown
    assert f"nomad retry {job_id}" in shown
    assert shown.index("enqueued") < shown.index("started on") < shown.index("Traceback") < shown.index("Why")
    assert (
        "it failed and another attempt would fail the same way: " in nomad_json("job", job_id, "--queue", "shop")["why"]
    )


def test_a_job_shows_why_it_waits(
    nomad: Nomad,
    nomad_json: NomadJson,
    order: Order,
    access: QueueAccess,
    working: Any,
    wait_until: Callable[..., None],
) -> None:
    queue = access.queues.get_queue("shop")
    first, second = order(end="hang"), order()
    assert "no live worker serves it" in nomad_json("job", second)["why"]
    with working():
        wait_until(lambda: queue.counts()["active"])
        why = nomad_json("job", second)
        assert f"all 1 threads are busy: {first} since" in why["why"]
        queue.pause()
        why = nomad_json("job", second)
        assert "paused since" in why["why"]
        assert why["next"][0] == "nomad resume shop"
        queue.resume()
    deferred = order(end="defer")
    with working():
        wait_until(lambda: queue.counts()["delayed"])
    assert "it deferred itself: ESI is down; due in 9m" in nomad_json("job", deferred)["why"]
    later = order(delay=7_200_000)
    assert nomad_json("job", later)["next"][0] == f"nomad promote {later}"


def test_an_active_job_whose_worker_is_lost_is_explained(
    nomad_json: NomadJson,
    order: Order,
    access: QueueAccess,
    environ: dict[str, str],
    redis_client: redis.Redis,
    nomad_worker_process: Callable[..., WorkerProcess],
    wait_until: Callable[..., None],
) -> None:
    job_id, queue = order(end="hang"), access.queues.get_queue("shop")
    worker = nomad_worker_process("nomad_actors.app:worker_broker", environ=environ, directory=ROOT)
    wait_until(lambda: queue.counts()["active"])
    (name,) = [each.name for each in queue.snapshot().workers]
    worker.kill()
    # As if the worker had been lost for a minute.
    for worker_id, mark in redis_client.hgetall("nomad:{shop}:workers").items():
        if worker_id != keys.TICK_FIELD:
            heard, *rest = MARK.unpack_from(mark)
            redis_client.hset("nomad:{shop}:workers", worker_id, MARK.pack(heard - 60_000, *rest) + mark[MARK.size :])
    job = nomad_json("job", job_id)
    assert (job["status"], job["worker"]) == ("active", name)
    assert job["why"].startswith("it was started ")
    host, pid = name.partition("@")[0].split(":")
    lost = (
        rf"which has sent no heartbeat for 1m( [0-9]+s)? \(killed or frozen: look for PID {pid} on {re.escape(host)}; "
    )
    assert re.search(lost + rf"if it is frozen, end it: kill -9 {pid}\): it runs again when a worker", job["why"])
    redis_client.delete("nomad:{shop}:workers")
    assert "which is gone: it runs again when a worker of its queue starts" in nomad_json("job", job_id)["why"]
    assert job["next"] == ["nomad run workers"]


def test_a_job_of_an_unknown_type_shows_when_it_fails(
    nomad_json: NomadJson, order: Order, access: QueueAccess, redis_url: str, wait_until: Callable[..., None]
) -> None:
    old = JobBroker(url=redis_url)
    old.declare_queue("shop")
    job_id = order()
    with running(old, queues={"shop"}):
        wait_until(lambda: access.queues.get_queue("shop").counts()["delayed"])
    old.close()
    job = nomad_json("job", job_id)
    assert "a worker did not know its job type (no actor 'order' is declared in worker" in job["why"]
    assert job["why"].endswith(" unless a worker knows it by then")
    assert "NOMAD_MODULES" in job["next"][0]


def test_a_suspended_scheduler_is_shown_with_its_reason(nomad: Nomad, access: QueueAccess) -> None:
    book = access.queues.broker.schedules()
    now_ms = book.redis_ms()
    book.beat(
        "web-1:1",
        now_ms,
        forget_before_ms=0,
        offset_seconds=-90,
        suspended_reason="wrong clock",
        suspended_since_ms=now_ms,
    )
    shown = nomad("schedules").stdout
    assert "schedulers: web-1:1" in shown
    assert "web-1:1: suspended since 20" in shown
    assert "Z: wrong clock" in shown


def test_a_completed_job_shows_its_result(nomad: Nomad, order: Order, access: QueueAccess, working: Any) -> None:
    job_id = order()
    with working():
        access.broker.join("shop", timeout=5000)
    assert '"item": "rifter"' in nomad("job", job_id).stdout.partition("result")[2]


def test_cut_data_names_the_command_that_shows_it_all(nomad: Nomad, order: Order) -> None:
    job_id = order(item="x" * 60_000)
    assert f"[the rest: nomad job {job_id} --json]" in nomad("job", job_id).stdout


def test_schedules_are_shown_started_stopped_and_run(nomad: Nomad, nomad_json: NomadJson, access: QueueAccess) -> None:
    from nomad_actors.scheduler import Schedules

    Schedules(access.queues).schedule_job("nightly", "0 3 * * *", ("order", {"item": "venture"}))
    (job,) = nomad_json("schedules")["jobs"]
    assert (job["name"], job["running"]) == ("nightly", True)
    assert nomad_json("schedules", "stop", "nightly")["running"] is False
    shown = nomad("schedules").stdout
    assert "nightly" in shown
    assert "off" in shown
    assert "No live scheduler" in shown
    assert "Schedule nightly is on. Next run: 20" in nomad("schedules", "start", "nightly").stdout
    added = nomad_json("schedules", "run", "nightly")
    found = nomad_json("job", added["jobId"])
    assert (found["queueName"], found["data"]["item"]) == ("shop", "venture")
    assert nomad_json("schedules")["jobs"][0]["lastStatus"] == "waiting"
    unknown = nomad("schedules", "run", "nightley")
    assert (unknown.exit_code, "did you mean 'nightly'?" in unknown.stderr) == (3, True)


@pytest.mark.filterwarnings("default::FutureWarning")
def test_config_shows_each_settings_source_and_hides_secrets(
    nomad: Nomad, nomad_json: NomadJson, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setenv("EVE_CLIENT_SECRET", "s3cret")
    # The password begins with digits and a slash, like a port.
    monkeypatch.setenv("DATABASE_URL", "postgresql://nomad:5432/pa55@db/nomad")
    monkeypatch.setenv("NOMAD_CONCURRENCY_SHOP", "7")
    monkeypatch.setenv("BULLMQ_MAX_RETRIES", "9")
    result = nomad("config", "--json")
    assert result.stderr.startswith("nomad: warning: BULLMQ_MAX_RETRIES is the original system's name")
    assert "s3cret" not in result.output
    assert "pa55" not in result.output
    found = {each["name"]: each for each in json.loads(result.stdout)["settings"]}
    assert (found["max_retries"]["value"], found["max_retries"]["source"]) == (9, "BULLMQ_MAX_RETRIES")
    assert (found["queue_concurrency"]["value"], found["queue_concurrency"]["source"]) == (
        "shop=7",
        "NOMAD_CONCURRENCY_SHOP",
    )
    assert (found["concurrency"]["value"], found["concurrency"]["source"]) == (5, "default")
    assert found["redis_url"]["value"] == redis_url
    assert found["database_url"]["value"] == "postgresql://nomad:[hidden]@db/nomad"
    assert found["eve_client_secret"]["value"] == "[hidden]"
    assert "EVE_CLIENT_SECRET" in nomad("config").stdout


SETTINGS = {
    "NOMAD_ADMIN_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8,::1",
    "NOMAD_ADMIN_HOSTS": "jobs.example,a.example",
    "NOMAD_METRICS_HOSTS": "jobs.example",
    "NOMAD_METRICS_HOST": "::",
    "ADMIN_HOST": "127.0.0.1",
    "NOMAD_KEEP_COMPLETED_SHOP": "5/1h",
    "ADMIN_PREFIX": "/jobs",
}


def test_config_shows_every_form_of_value(nomad_json: NomadJson, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    found = {each["variable"]: each["value"] for each in nomad_json("config")["settings"]}
    assert found["NOMAD_ADMIN_TRUSTED_PROXIES"] == "127.0.0.1/32,10.0.0.0/8,::1/128"
    assert found["NOMAD_ADMIN_HOSTS"] == "jobs.example,a.example"
    assert found["NOMAD_METRICS_HOST"] == "::"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "sqlite:///a?foo=1"),
        ("DATABASE_URL", "sqlite:///a?timeout=x"),
        ("DATABASE_URL", "postgresql://db/a?nonsense=1"),
        ("NOMAD_METRICS_HOST", "foo bar"),
        ("NOMAD_METRICS_HOST", "::1::2"),
        ("ADMIN_HOST", "a b"),
    ],
)
def test_config_refuses_settings_that_would_stop_a_program(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    result = nomad("config")
    assert (result.exit_code, result.stdout) == (2, "")
    assert name in result.stderr


def test_config_names_the_variables_that_form_redis_url(
    nomad: Nomad, monkeypatch: pytest.MonkeyPatch, nomad_json: NomadJson
) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv("REDIS_HOST", "queue.example")
    monkeypatch.setenv("REDIS_PASSWORD", "pa55")
    found = {each["name"]: each for each in nomad_json("config")["settings"]}
    assert found["redis_url"]["source"] == "REDIS_HOST, REDIS_PASSWORD"
    assert found["redis_url"]["value"] == "redis://:[hidden]@queue.example:6379/0"


def test_reading_creates_no_file_and_opens_no_database(
    nomad: Nomad, tmp_path: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    order()
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///nomad.db")
    monkeypatch.setenv("NOMAD_VAR_DIR", "var")
    for arguments in (
        *(["queues"], ["jobs", "shop"], ["failures", "shop"], ["schedules"], ["workers"], ["config"], ["doctor"]),
        *(["operations", "list"], ["limits", "shop"], ["bulk", "remove", "shop", "-s", "waiting", "--dry-run"]),
    ):
        result = nomad(*arguments)
        assert "audit log" not in result.stderr
    assert list(empty.iterdir()) == []
