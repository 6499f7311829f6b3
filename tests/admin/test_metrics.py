"""Metrics, health, schedules and probes over HTTP."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from nomad_actors import job_metrics
from nomad_actors.jobs import SCHEDULES

from .conftest import QUEUES, AdminApp


@pytest.mark.usefixtures("workers")
def test_a_healthy_system_answers_200(operator: FlaskClient, app: AdminApp) -> None:
    app.schedules.declare(SCHEDULES)
    app.simulate_scheduler()
    response = operator.get("/admin/jobs/health")
    assert response.status_code == 200
    count = len(SCHEDULES)
    assert response.get_json() == {
        "healthy": True,
        "queues": {"total": 4, "healthy": 4, "unhealthy": 0, "issues": []},
        "scheduledJobs": {"total": count, "running": count, "stopped": 0, "issues": []},
        "workers": {"total": 4, "active": 4, "issues": []},
        "redis": {"issues": []},
        "database": {"issues": []},
        "esi": {"issues": []},
        "host": {"issues": []},
    }


def test_an_unhealthy_system_answers_503_with_the_complete_body(operator: FlaskClient) -> None:
    response = operator.get("/admin/jobs/health")
    assert response.status_code == 503
    body = response.get_json()
    assert body["healthy"] is False
    assert set(body) == {"healthy", "queues", "scheduledJobs", "workers", "redis", "database", "esi", "host"}
    (issue,) = body["workers"]["issues"]
    assert issue.startswith("workers: no live worker serves any of the 4 queues (0 waiting, ")
    assert body["workers"]["active"] == 0


def test_the_metrics_are_those_of_the_job_metrics(operator: FlaskClient, app: AdminApp) -> None:
    app.add()
    app.add(fail=True)
    app.run_all()
    app.add()
    summary = operator.get("/admin/jobs/metrics").get_json()
    assert summary == job_metrics.get_job_activity_summary(queues=app.queues)
    assert (summary["totalJobs"], summary["overallFailureRate"], summary["waitingJobs"]) == (2, 50.0, 1)
    assert operator.get("/admin/jobs/queues").get_json() == {"queues": summary["queues"]}
    queue = operator.get("/admin/jobs/queues/token-refresh").get_json()
    assert (queue["completionRate"], queue["jobTypes"], queue["concurrency"]) == (50.0, ["token-refresh-work"], 2)
    assert queue["oldestWaitingMs"] >= 0


@pytest.mark.usefixtures("workers")
def test_a_queue_has_its_live_workers(operator: FlaskClient) -> None:
    (worker,) = operator.get("/admin/jobs/queues/token-refresh").get_json()["workers"]
    assert worker["name"]
    assert worker["heardAt"] > 1_700_000_000_000


def test_the_schedules_are_listed(operator: FlaskClient, app: AdminApp) -> None:
    app.schedules.declare(SCHEDULES)
    summary = operator.get("/admin/jobs/scheduler").get_json()
    assert (summary["total"], summary["running"], summary["stopped"]) == (len(SCHEDULES), len(SCHEDULES), 0)
    assert {job["queueName"] for job in summary["jobs"]} == set(QUEUES)
    assert all(job["nextRun"] for job in summary["jobs"])


def test_alive_and_ready(operator: FlaskClient, app: AdminApp) -> None:
    assert operator.get("/healthz").get_json() == {"status": "ok"}
    response = operator.get("/readyz")
    assert (response.status_code, response.get_json()) == (200, {"ready": True, "redis": "ok", "database": "ok"})
    app.remove_database()
    response = operator.get("/readyz")
    assert response.status_code == 503
    body = response.get_json()
    assert body.pop("database").endswith("or set another file in DATABASE_URL")
    assert body == {"ready": False, "redis": "ok"}
    assert operator.get("/healthz").status_code == 200


def test_prometheus_reads_the_queue_metrics(operator: FlaskClient, app: AdminApp) -> None:
    app.add()
    response = operator.get("/metrics")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    assert 'nomad_queue_jobs{queue="token-refresh",state="waiting"} 1.0' in response.text
    assert 'nomad_collector_success{source="redis"} 1.0' in response.text
    assert 'nomad_collector_success{source="database"} 1.0' in response.text
    assert "nomad_build_info" in response.text
    openmetrics = operator.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.mimetype == "application/openmetrics-text"


def test_an_unknown_query_parameter_is_refused(operator: FlaskClient) -> None:
    assert operator.get("/admin/jobs/metrics?window=1").status_code == 422


@pytest.mark.parametrize("path", ["metrics", "queues", "queues/token-refresh"])
def test_metrics_cover_the_requested_window(operator: FlaskClient, path: str) -> None:
    body = operator.get(f"/admin/jobs/{path}?windowSeconds=3600").get_json()
    assert (body["queues"][0] if path == "queues" else body)["windowSeconds"] == 3600
    response = operator.get(f"/admin/jobs/{path}?windowSeconds=59")
    assert response.status_code == 422
    assert "60 to 86400" in response.get_json()["detail"]
