"""An unreadable record affects nothing else; health and doctor name it and say how to remove it."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest
import redis
from flask.testing import FlaskClient

from nomad_actors.broker import keys
from nomad_actors.broker.records.unreadable import Unreadable
from nomad_actors.errors import UnreadableQueue
from nomad_actors.health import Finding, Installation, queue_checks, schedule_checks
from nomad_actors.scheduler.status import read_scheduler
from nomad_actors.settings.redis_urls import redis_cli
from nomad_actors.settings.secret_url import SecretUrl

from .conftest import AdminApp

BASE = "nomad:{token-refresh}"


def a_schedule(**changed: object) -> bytes:
    """Return a schedule's record with changed fields."""
    declared = {
        "description": "d",
        "expression": "* * * * *",
        "job_type": "hold",
        "data": {},
        "timezone": "UTC",
        "enabled": True,
        "run_on_init": False,
        "misfire": "once",
        "max_lateness_seconds": 60,
        "overlap": "skip",
        "priority": None,
        "attempts": None,
    }
    record = {"version": 1, "enabled": True, "watermark": 1e12, "declared": declared, "overrides": {}, "missed": 0}
    for name, value in changed.items():
        (declared if name in declared else record)[name] = value
    for name in ("declared", "overrides"):
        record[name] = json.dumps(record[name])
    return json.dumps(record).encode()


SCHEDULES = [
    *(a_schedule(expression=value) for value in (None, 5, "x", "* * * *", "0 0 31 2 *", ["*"])),
    *(a_schedule(timezone=value) for value in (None, 5, "Mars", "../x", "\0")),
    *(a_schedule(enabled=value) for value in ("yes", None, 1)),
    *(a_schedule(run_on_init=value) for value in ("yes", None)),
    *(a_schedule(max_lateness_seconds=value) for value in (float("inf"), float("nan"), -1, "x", 10**400)),
    *(a_schedule(data=value) for value in (None, [1], "x", {"n": float("nan")})),
    *(a_schedule(job_type=value) for value in (None, 5, "nobody")),
    *(a_schedule(misfire=value) for value in (None, "x", [])),
    *(a_schedule(overlap=value) for value in (5, "x")),
    *(a_schedule(priority=value) for value in ("x", [], 10**30)),
    *(a_schedule(attempts=value) for value in ("3", 0, 1.5)),
    *(a_schedule(description=value) for value in (None, 5)),
    *(a_schedule(version=value) for value in (None, "x", 1e300, -1)),
    *(a_schedule(watermark=value) for value in (None, "x", 1e300, -1e300, float("nan"), float("inf"))),
    *(a_schedule(missed=value) for value in (None, "x", 1e300)),
    *(a_schedule(declared=value) for value in (5, [], "x")),
    *(a_schedule(overrides=value) for value in (5, [], None)),
]


SHOWN = ("/metrics", "/admin/jobs/health", "/admin/jobs/scheduler", "/admin/jobs/queues", "/admin/jobs/metrics")
SHOWN += ("/admin/jobs/failed", "/admin/jobs/active", "/admin/doctor", "/admin/", "/admin/jobs/bulk", "/admin/bulk")


def check_shown(operator: FlaskClient, planted: object) -> None:
    """Request every path that covers all queues: it succeeds and shows the other queues."""
    for path in SHOWN:
        response = operator.get(path)
        reports_problem = response.status_code == 503 and path in ("/admin/jobs/health", "/admin/doctor")
        assert response.status_code == 200 or reports_problem, (
            f"{planted}: {path}: {response.status_code} {response.text[:300]}"
        )
        if path == "/metrics":
            assert 'nomad_collector_success{source="redis"} 1.0' in response.text, planted
        if path in ("/metrics", "/admin/jobs/queues", "/admin/"):
            assert "cache-cleanup" in response.text, f"{planted}: {path}"


def unreadable_records(app: AdminApp) -> list[Unreadable]:
    schedules = read_scheduler(app.queues).names_by_queue()
    return app.broker.unreadable_records(app.queues.names(), schedules)


def findings(app: AdminApp) -> list[Finding]:
    return list(queue_checks.records(Installation(app.settings, app.clock, app.broker, app.queues)))


def test_unreadable_schedules_do_not_affect_the_others(
    operator: FlaskClient, app: AdminApp, redis_client: redis.Redis
) -> None:
    app.simulate_scheduler()
    good = len(app.schedules.all())
    planted = {f"zz{number}": record for number, record in enumerate([b"", b"\xff", b"5", b"[" * 9000, *SCHEDULES])}
    redis_client.hset(f"{BASE}:schedules", mapping=planted)  # type: ignore[arg-type]
    redis_client.hset(f"{BASE}:schedules", b"\xff\xfe", a_schedule())  # type: ignore[arg-type]
    check_shown(operator, "schedules")
    summary = operator.get("/admin/jobs/scheduler").get_json()
    shown, bad = {job["name"] for job in summary["jobs"]}, {each["name"] for each in summary["unreadable"]}
    # A record with an unknown job type or priority is readable; adding its job fails.
    assert len(shown) - good <= 4
    assert shown | bad >= planted.keys()
    assert not shown & bad
    issues = operator.get("/admin/jobs/health").get_json()["scheduledJobs"]["issues"]
    assert sum("cannot be read" in issue for issue in issues) == len(bad)
    assert all(each["why"] and each["fix"].startswith(redis_cli(app.settings)) for each in summary["unreadable"])


@pytest.mark.parametrize("is_whole_key", [False, True])
def test_the_doctor_reports_an_unreadable_schedule_once(
    app: AdminApp, redis_client: redis.Redis, is_whole_key: bool
) -> None:
    app.simulate_scheduler()
    if is_whole_key:
        redis_client.set(f"{BASE}:schedules", "rubbish")
    else:
        redis_client.hset(f"{BASE}:schedules", mapping={"zz0": b"rubbish", "zz1": a_schedule(timezone="Mars")})  # type: ignore[arg-type]
    installation = Installation(app.settings, app.clock, app.broker, app.queues)
    found = [*queue_checks.records(installation), *schedule_checks.schedules(installation)]
    fixes = [each.remedy for each in found if each.severity == "problem" and "redis-cli" in each.remedy]
    assert (len(fixes), len(set(fixes))) == ((1, 1) if is_whole_key else (2, 2))


def test_an_unreadable_schedule_is_declared_again_or_removed_by_its_remedy(
    app: AdminApp, redis_client: redis.Redis, redis_url: str
) -> None:
    app.simulate_scheduler()
    name = app.schedules.all()[0].schedule.name
    queue = next(each.schedule.queue for each in app.schedules.all() if each.schedule.name == name)
    for number, record in enumerate(SCHEDULES):
        redis_client.hset(f"nomad:{{{queue}}}:schedules", name, record)  # type: ignore[arg-type]
        if number % 5 == 0:
            app.simulate_scheduler()
            assert app.schedules.find(name) is not None, record
    odd = b'\xff it\'s "odd"\n'
    redis_client.hset(f"{BASE}:schedules", odd, b"rubbish")  # type: ignore[arg-type]
    redis_client.hset(f"{BASE}:schedules", "it's plain", b"rubbish")
    for each in app.schedules.survey()[1]:
        if each.name != name:
            command = each.removal(redis_cli(dataclasses.replace(app.settings, redis_url=SecretUrl(redis_url))))
            subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, check=True, capture_output=True)
    assert not [each for each in app.schedules.survey()[1] if each.name != name]


RECORDS: list[tuple[str, bytes, bytes]] = [
    *(("slots:zz", b"5", value) for value in (b"", b"\xff", b"{}", b'{"due":1e300}', b'{"due":"x"}', b"[]")),
    ("slots:zz", b"last_success", b"x"),
    *((name, b"zz", value) for name in ("jobs", "workers", "stats", "faults") for value in (b"", b"\x07cut")),
    ("jobs", b"zz", b"\x63" + b"\xff" * 90),
    ("active", b"zz", b"x"),
    *(("meta", field, b"x") for field in (b"paused", b"paused:esi", b"rate", b"limit_set", b"max_length", b"keep")),
    *(("totals", field, b"1") for field in (b"zz", b"zz:actor")),
    *(("totals", b"failed:actor", value) for value in (b"", b"-1", b"x")),
    *(("workers", b"tick", value) for value in (b"x", b"\xff" * 45)),
    ("meta", b"paused", b'{"since":1e400}'),
    *(("operations", b"zz", value) for value in (b"\xff", b"[" * 9000, b"5")),
]


def test_the_doctor_names_every_kind_of_unreadable_record(
    operator: FlaskClient, app: AdminApp, redis_client: redis.Redis
) -> None:
    app.add()
    app.add(fail=True)
    app.run_all()
    assert [(each.severity, each.remedy) for each in findings(app)] == [("ok", "")]
    redis_client.hset(f"{BASE}:schedules", "zz", a_schedule(expression="0 0 1 1 *"))  # type: ignore[arg-type]
    left, expected = list(RECORDS), set()
    while left:
        # Records with the same key and field come in the next round.
        planted = {(suffix, field): value for suffix, field, value in reversed(left)}
        left = [each for each in left if planted[each[:2]] != each[2]]
        for (suffix, field), value in planted.items():
            redis_client.hset(f"{BASE}:{suffix}", field, value)  # type: ignore[arg-type]
        found = unreadable_records(app)
        expected |= {(f"{BASE}:{suffix}", field) for suffix, field in planted}
        assert {(each.key, each.field) for each in found} == expected
        assert all(each.why and each.key in each.removal("redis-cli") for each in found)
        assert len(findings(app)) == min(len(found), 21)
    check_shown(operator, "the last round")


#: One key for each way of reading.
WRONG = ("jobs", "active", "meta", "waiting", "failed", "workers", "stats", "schedules", "operations", "slots:zz")


def test_the_doctor_knows_every_key_by_its_type(app: AdminApp, redis_client: redis.Redis) -> None:
    suffixes = {key.suffix for key in keys.QUEUE_KEYS.values() if not key.is_family}
    for suffix in suffixes:
        redis_client.delete(f"{BASE}:{suffix}")
        redis_client.xadd(f"{BASE}:{suffix}", {"no": "such"})
    fixes = {each.removal("redis-cli") for each in unreadable_records(app)}
    assert fixes == {f"redis-cli UNLINK '{BASE}:{suffix}'" for suffix in suffixes}


@pytest.mark.parametrize("suffix", WRONG)
def test_a_key_of_a_wrong_type_affects_no_other_queue(
    operator: FlaskClient, app: AdminApp, redis_client: redis.Redis, suffix: str
) -> None:
    app.add("cache-cleanup", fail=True)
    app.run_all("cache-cleanup")
    redis_client.hset(f"{BASE}:schedules", "zz", a_schedule())  # type: ignore[arg-type]
    redis_client.delete(f"{BASE}:{suffix}")
    redis_client.xadd(f"{BASE}:{suffix}", {"no": "such"})
    check_shown(operator, suffix)
    assert any(f"{redis_cli(app.settings)} UNLINK '{BASE}:{suffix}'" == each.remedy for each in findings(app))
    for path in ("/admin/jobs/queues/token-refresh", "/admin/jobs/queues/token-refresh/failures"):
        assert operator.get(path).status_code in (200, 503)
    if suffix in ("meta", "waiting", "active"):
        with pytest.raises(UnreadableQueue, match="nomad doctor"):
            app.queues.get_queue("token-refresh").counts()


@pytest.mark.parametrize("key", ["nomad:schedulers", "nomad:schedules:changes"])
def test_a_scheduler_key_of_a_wrong_type_affects_nothing_else(
    operator: FlaskClient, app: AdminApp, redis_client: redis.Redis, key: str
) -> None:
    redis_client.xadd(key, {"no": "such"})
    check_shown(operator, key)
    assert any(f"{redis_cli(app.settings)} UNLINK {key}" == each.remedy for each in findings(app))
