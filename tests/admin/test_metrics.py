"""Numbers, health, schedules and probes over HTTP."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from nomad_actors import job_metrics
from nomad_actors.jobs import SCHEDULES

from .conftest import QUEUES, Parts


@pytest.mark.usefixtures("serving")
def test_a_healthy_system_answers_200(ask: FlaskClient, parts: Parts) -> None:
    parts.schedules.declare(SCHEDULES)
    parts.hear_scheduler()
    answer = ask.get("/admin/jobs/health")
    assert answer.status_code == 200
    count = len(SCHEDULES)
    assert answer.get_json() == {
        "healthy": True,
        "queues": {"total": 4, "healthy": 4, "unhealthy": 0, "issues": []},
        "scheduledJobs": {"total": count, "running": count, "stopped": 0, "issues": []},
        "workers": {"total": 4, "active": 4, "issues": []},
        "redis": {"issues": []},
        "database": {"issues": []},
        "host": {"issues": []},
    }


def test_an_unhealthy_system_answers_503_with_the_whole_body(ask: FlaskClient) -> None:
    answer = ask.get("/admin/jobs/health")
    assert answer.status_code == 503
    told = answer.get_json()
    assert told["healthy"] is False
    assert set(told) == {"healthy", "queues", "scheduledJobs", "workers", "redis", "database", "host"}
    (issue,) = told["workers"]["issues"]
    assert issue.startswith("workers: no live worker serves any of the 4 queues (0 waiting, ")
    assert told["workers"]["active"] == 0


def test_the_metrics_are_those_of_the_job_metrics(ask: FlaskClient, parts: Parts) -> None:
    parts.add()
    parts.add(fail=True)
    parts.run_all()
    parts.add()
    summary = ask.get("/admin/jobs/metrics").get_json()
    assert summary == job_metrics.get_job_activity_summary(queues=parts.queues)
    assert (summary["totalJobs"], summary["overallFailureRate"], summary["waitingJobs"]) == (2, 50.0, 1)
    assert ask.get("/admin/jobs/queues").get_json() == {"queues": summary["queues"]}
    queue = ask.get("/admin/jobs/queues/token-refresh").get_json()
    assert (queue["completionRate"], queue["jobTypes"], queue["concurrency"]) == (50.0, ["token-refresh-work"], 2)
    assert queue["oldestWaitingMs"] >= 0


@pytest.mark.usefixtures("serving")
def test_a_queue_tells_its_live_workers(ask: FlaskClient) -> None:
    (worker,) = ask.get("/admin/jobs/queues/token-refresh").get_json()["workers"]
    assert worker["name"]
    assert worker["heardAt"] > 1_700_000_000_000


def test_the_schedules_are_listed(ask: FlaskClient, parts: Parts) -> None:
    parts.schedules.declare(SCHEDULES)
    told = ask.get("/admin/jobs/scheduler").get_json()
    assert (told["total"], told["running"], told["stopped"]) == (len(SCHEDULES), len(SCHEDULES), 0)
    assert {job["queueName"] for job in told["jobs"]} == set(QUEUES)
    assert all(job["nextRun"] for job in told["jobs"])


def test_alive_and_ready(ask: FlaskClient, parts: Parts) -> None:
    assert ask.get("/healthz").get_json() == {"status": "ok"}
    answer = ask.get("/readyz")
    assert (answer.status_code, answer.get_json()) == (200, {"ready": True, "redis": "ok", "database": "ok"})
    parts.lose_database()
    answer = ask.get("/readyz")
    assert answer.status_code == 503
    told = answer.get_json()
    assert told.pop("database").endswith("or set another file in DATABASE_URL")
    assert told == {"ready": False, "redis": "ok"}
    assert ask.get("/healthz").status_code == 200


def test_prometheus_reads_what_the_queues_hold(ask: FlaskClient, parts: Parts) -> None:
    parts.add()
    answer = ask.get("/metrics")
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    assert 'nomad_queue_jobs{queue="token-refresh",state="waiting"} 1.0' in answer.text
    assert 'nomad_collector_success{source="redis"} 1.0' in answer.text
    assert 'nomad_collector_success{source="database"} 1.0' in answer.text
    assert "nomad_build_info" in answer.text
    openmetrics = ask.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.mimetype == "application/openmetrics-text"


def test_a_query_that_nothing_takes_is_refused(ask: FlaskClient) -> None:
    assert ask.get("/admin/jobs/metrics?window=1").status_code == 422


@pytest.mark.parametrize("path", ["metrics", "queues", "queues/token-refresh"])
def test_numbers_are_told_over_the_window_that_is_asked_for(ask: FlaskClient, path: str) -> None:
    told = ask.get(f"/admin/jobs/{path}?windowSeconds=3600").get_json()
    assert (told["queues"][0] if path == "queues" else told)["windowSeconds"] == 3600
    answer = ask.get(f"/admin/jobs/{path}?windowSeconds=59")
    assert answer.status_code == 422
    assert "60 to 86400" in answer.get_json()["detail"]
