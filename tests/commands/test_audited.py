"""Changes by the command are in the admin's audit log, and are made even if the database is down."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.app import QueueAccess
from nomad_actors.clock import SystemClock
from nomad_actors.scheduler import Schedules
from nomad_actors.store import Audit, AuditEntry
from nomad_actors.store.database import Database
from nomad_actors.store.schema import audit_log
from tests.support.foreign_values import RAISED, encoder_that_raises

from .conftest import Nomad

#: The user who runs the tests.
USER = f"uid {os.getuid()} ({pwd.getpwuid(os.getuid()).pw_name})"

Order = Callable[..., str]
Entries = Callable[[], list[AuditEntry]]


@pytest.fixture
def entries(database: Database) -> Entries:
    """`entries()`: the audit log, oldest first."""

    def read() -> list[AuditEntry]:
        found, _ = Audit(database, clock=SystemClock()).read(100)
        return found[::-1]

    return read


def facts_of(path: str) -> tuple[str, str | None, str | None, str | None]:
    """Return the endpoint of a path, and its queue, job and schedule."""
    words = path.removeprefix("/admin/jobs/").split("/")
    queue = words[1] if words[0] == "queues" else None
    job_id = words[3] if queue and words[2] == "jobs" and len(words) > 3 else None
    schedule = words[1] if words[0] == "scheduler" else None
    pattern = path.replace("/queues/shop", "/queues/{queue}").replace(f"/scheduler/{schedule}", "/scheduler/{name}")
    return pattern.replace(f"/jobs/{job_id}", "/jobs/{jobId}"), queue, job_id, schedule


def test_every_change_is_recorded_as_the_api_request_for_it(
    nomad: Nomad, order: Order, access: QueueAccess, entries: Entries
) -> None:
    Schedules(access.queues).schedule_job("nightly", "0 3 * * *", ("order", {"item": "venture"}))
    waiting, delayed, other = order(), order(delay=60_000), order()
    queue, peer = "/admin/jobs/queues/shop", f"cli@{socket.gethostname()}"
    changes: list[tuple[list[str], str, str, Any]] = [
        (["pause", "shop", "--reason", "stock-taking", "--for", "1h"], "POST", f"{queue}/pause", "stock-taking"),
        (["resume", "shop"], "POST", f"{queue}/resume", None),
        (["pause", "--esi"], "POST", "/admin/jobs/esi/pause", None),
        (["resume", "--esi"], "POST", "/admin/jobs/esi/resume", None),
        (["limits", "shop", "--concurrency", "3"], "PUT", f"{queue}/limits", 3),
        (["promote", delayed], "POST", f"{queue}/jobs/{delayed}/promote", None),
        (["cancel", waiting, "--reason", "wrong"], "POST", f"{queue}/jobs/{waiting}/cancel", "wrong"),
        (["retry", waiting], "POST", f"{queue}/jobs/{waiting}/retry", None),
        (["remove", other, "--yes"], "DELETE", f"{queue}/jobs/{other}", None),
        (["clean", "shop", "-s", "failed", "--grace", "7d", "-y"], "POST", f"{queue}/clean", 604_800_000),
        (["bulk", "cancel", "shop", "-s", "waiting", "-y"], "POST", f"{queue}/bulk", "cancel"),
        (["retry", "--failed", "shop"], "POST", f"{queue}/bulk", "retry"),
        (["schedules", "stop", "nightly"], "POST", "/admin/jobs/scheduler/nightly/stop", None),
        (["schedules", "start", "nightly"], "POST", "/admin/jobs/scheduler/nightly/start", None),
        (["schedules", "run", "nightly"], "POST", "/admin/jobs/scheduler/nightly/run", None),
        (["enqueue", "order", "--item", "rifter"], "POST", f"{queue}/jobs", "rifter"),
    ]
    for arguments, method, path, value in changes:
        result = nomad(*arguments)
        assert result.exit_code == 0, result.output
        entry = entries()[-1]
        assert (entry.method, entry.path, entry.status, entry.error) == (method, path, 200, None)
        assert entry.ended_ms is not None
        assert (entry.actor, entry.role, entry.peer) == (USER, "operator", peer)
        assert (entry.endpoint, entry.queue, entry.job_id, entry.schedule) == facts_of(path)
        assert value is None or json.dumps(value).strip('"') in str(entry.body)
    assert len(entries()) == len(changes)
    # Commands that read or change nothing are not recorded.
    for arguments in (["queues"], ["limits", "shop"], ["bulk", "remove", "shop", "-s", "delayed", "--dry-run"]):
        assert nomad(*arguments).exit_code == 0
    assert nomad("remove", waiting).exit_code == 2
    assert len(entries()) == len(changes)


def test_a_refused_change_is_recorded_with_its_reason(nomad: Nomad, order: Order, entries: Entries) -> None:
    job_id = order()
    assert nomad("retry", job_id).exit_code == 4
    assert nomad("pause", "shopp").exit_code == 3
    assert nomad("enqueue", "order", "--item", "rifter", "--count", "many").exit_code == 2
    wrong_state, unknown, wrong_data = entries()
    assert (wrong_state.status, "is waiting; only a job" in str(wrong_state.error)) == (409, True)
    assert (unknown.status, unknown.path) == (404, "/admin/jobs/queues/shopp/pause")
    assert (wrong_data.status, "count" in str(wrong_data.error)) == (422, True)


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)
def test_an_exception_of_foreign_code_is_recorded_as_a_failure(
    nomad: Nomad, entries: Entries, raised: Callable[[], BaseException]
) -> None:
    with encoder_that_raises(raised):
        added = nomad("enqueue", "order", "--item", "rifter")
    if raised is KeyboardInterrupt:
        # Typer treats each as Ctrl-C.
        assert (added.exit_code, entries()[0].ended_ms) == (130, None)
        return
    assert (added.exit_code, added.stdout) == (1, "")
    assert added.stderr.startswith("nomad: unexpected ")
    assert added.stderr.count("\n") == 1
    assert entries()[0].status == 500


def test_secrets_in_a_jobs_data_are_not_recorded(nomad: Nomad, entries: Entries) -> None:
    nomad("enqueue", "order", "--data", '{"item": "a", "refresh_token": "hush-hush"}')
    (entry,) = entries()
    assert "hush-hush" not in str(entry.body)


@pytest.mark.parametrize("missing", ["file", "directory", "schema", "table"])
def test_a_change_without_the_database_is_made_with_a_warning(
    nomad: Nomad, access: QueueAccess, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "file":
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    elif missing == "directory":
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none' / 'nomad.db'}")
    elif missing == "schema":
        with database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    else:
        with database.write() as connection:
            connection.execute(sa.text(f"DROP TABLE {audit_log.name}"))
    paused = nomad("pause", "shop", "--json")
    assert paused.exit_code == 0
    assert json.loads(paused.stdout)["status"] == "paused"
    assert access.queues.get_queue("shop").snapshot().is_paused
    (warning,) = paused.stderr.splitlines()
    assert warning.startswith("nomad: warning: this change is not in the audit log: ")
    assert sorted(path.name for path in tmp_path.iterdir() if "none" in path.name) == []


def test_a_locked_database_does_not_block_a_change(nomad: Nomad, access: QueueAccess, database: Database) -> None:
    with database.write():
        paused = nomad("pause", "shop")
    assert paused.exit_code == 0
    assert "this change is not in the audit log: the database does not answer" in paused.stderr
    assert access.queues.get_queue("shop").snapshot().is_paused


@pytest.mark.parametrize("job_id", ["é" * 199, "😀" * 200, "a/../b?c#d%", "x" * 200])
def test_a_long_job_id_does_not_displace_the_rest_of_its_entry(
    nomad: Nomad, access: QueueAccess, entries: Entries, job_id: str
) -> None:
    access.queues.add_job("shop", "order", {"item": "rifter"}, job_id=job_id)
    assert nomad("cancel", job_id, "--reason", "r" * 200).exit_code == 0
    (entry,) = entries()
    assert (entry.queue, entry.job_id) == ("shop", job_id)
    assert entry.endpoint == "/admin/jobs/queues/{queue}/jobs/{jobId}/cancel"
    assert entry.path.endswith("/cancel")
    for options in (["--job", job_id], ["--queue", "shop", "--endpoint", "cancel"], ["--actor", USER]):
        (shown,) = json.loads(nomad("audit", "--json", *options).stdout)["entries"]
        assert (shown["jobId"], shown["queueName"], shown["actor"]) == (job_id, "shop", USER)
    assert json.loads(nomad("audit", "--json", "--endpoint", "retry").stdout)["entries"] == []
    assert USER in nomad("audit", "--since", "1h").stdout


def test_the_actor_is_the_uid_whatever_the_environment_contains(
    nomad: Nomad, order: Order, entries: Entries, access: QueueAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    job_id = order()
    assert nomad("cancel", job_id, "--reason", "wrong").exit_code == 0
    for sudo_uid, actor in (("0", f"{USER}, SUDO_UID 0 (root)"), ("4294967294", f"{USER}, SUDO_UID 4294967294")):
        monkeypatch.setenv("SUDO_UID", sudo_uid)
        assert nomad("pause", "shop").exit_code == 0
        assert entries()[-1].actor == actor
    for invalid in ("mallory", "1 (root)", "９", "-1", "9" * 40):
        monkeypatch.setenv("SUDO_UID", invalid)
        assert nomad("resume", "shop").exit_code == 0
        assert entries()[-1].actor == USER
    job = access.queues.get_queue("shop").get(job_id)
    assert job is not None
    assert "mallory" not in str(job.failed_reason)


def test_the_audit_log_of_a_missing_database_is_an_error(
    nomad: Nomad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "The audit log is empty." in nomad("audit").stdout
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    result = nomad("audit")
    assert (result.exit_code, "does not exist" in result.stderr) == (5, True)
