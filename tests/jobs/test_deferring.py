"""An error that names a retry time defers the job until then: no attempt is spent, and the timeline has the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors import queues
from nomad_actors.app import App
from nomad_actors.errors import MAX_RETRY_AFTER_SECONDS, TryLater
from nomad_actors.jobs import collect_historical_data, refresh_character_token, refresh_esi_data
from nomad_actors.jobs.services import Services
from nomad_actors.jobs.token_keeper import FLIGHT_SECONDS, STRIKE_GAP_MS
from nomad_actors.queues import AddedJob
from nomad_actors.queues.job import Job
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.testing import running
from sandbox.serve import SandboxServer

#: SSO's path for refreshes, and its response for a dead login.
TOKEN_PATH = "/v2/oauth/token"
DEAD = {"user_id": 1, "name": "n", "owner_hash": "o", "scopes": [], "refresh_token": "no such token"}
WALLET, JOURNAL = "/characters/*/wallet", "/characters/*/wallet/journal"


@pytest.fixture
def run(app: App, wait_until: Callable[..., None]) -> Callable[[AddedJob], Job]:
    """Run a job once and return its state after that."""

    def once(added: AddedJob) -> Job:
        queue = queues.get_queue(added.queue)

        def has_run() -> bool:
            job = queue.get(added.id)
            return job is not None and job.status in ("delayed", "failed", "completed")

        with running(app.broker, queues={added.queue}):
            wait_until(has_run, what="the job to run")
        job = queue.get(added.id)
        assert job is not None
        return job

    return once


def check_deferred(job: Job, seconds: float, reason: str) -> None:
    assert (job.status, job.attempts_made) == ("delayed", 0), job.failed_reason
    deferred = job.timeline[-1]
    assert deferred["event"] == "deferred"
    assert reason in str(deferred["reason"])
    assert int(deferred["due"]) - int(deferred["at"]) == pytest.approx(seconds * 1000, abs=50)  # type: ignore[call-overload]


def test_the_job_of_a_login_in_doubt_is_deferred(
    services: Services, run: Callable[[AddedJob], Job], advance: Callable[[float], None]
) -> None:
    services.store.logins.save(character_id=5, **DEAD)
    added = refresh_character_token(5, 1)
    check_deferred(run(added), 60, "SSO rejected the login of character 5, which is not marked dead yet")
    # Another job of the same character sends nothing and is deferred to the same time.
    check_deferred(run(refresh_character_token(5, 1)), 60, "asked again after 60 s")
    advance(STRIKE_GAP_MS / 1000)
    queues.get_queue(added.queue).promote(added.id)
    job = run(added)
    assert (job.status, job.attempts_made) == ("failed", 1)
    assert "must log in again" in str(job.failed_reason)


def test_a_job_that_waits_too_long_for_another_jobs_refresh_is_deferred(
    services: Services, seeded: dict[str, Any], run: Callable[[AddedJob], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.jobs.token_keeper.MAX_WAIT_SECONDS", 0.2)
    services.store.logins.take_flight(seeded["character_id"], 1, flight="another host's", seconds=FLIGHT_SECONDS)
    for added in (
        refresh_character_token(seeded["character_id"], 1),
        refresh_esi_data(seeded["character_id"], 1, "/characters/{character_id}/wallet"),
    ):
        check_deferred(run(added), FLIGHT_SECONDS - 0.2, "another job has been refreshing")


def test_a_job_for_which_sso_has_no_room_is_deferred(
    services: Services, sandbox: SandboxServer, seeded: dict[str, Any], run: Callable[[AddedJob], Job]
) -> None:
    for _ in range(4):
        services.limiter.reserve_sso()
    job = run(refresh_character_token(seeded["character_id"], 1))
    assert (job.status, job.attempts_made) == ("delayed", 0), job.failed_reason
    assert "concurrency:sso" in str(job.timeline[-1]["reason"])
    assert sandbox.requests(TOKEN_PATH) == []


@pytest.mark.parametrize(
    ("path", "failure", "seconds"),
    [
        (TOKEN_PATH, {"status": 429, "headers": {"Retry-After": "90"}}, 90),
        (TOKEN_PATH, {"status": 503, "headers": {"Retry-After": "999999"}}, 900),
        (WALLET, {"status": 429, "headers": {"Retry-After": "999999"}}, 3_600),
        (WALLET, {"status": 429, "headers": {"Retry-After": "17"}}, 17),
        (WALLET, {"status": 429, "headers": {"Retry-After": "0"}}, 1),
        (WALLET, {"status": 420, "headers": {"X-ESI-Error-Limit-Reset": "42"}}, 42),
        (WALLET, {"status": 420}, 60),
        (WALLET, {"status": 503, "headers": {"Retry-After": "300"}}, 300),
    ],
    ids=str,
)
def test_jobs_are_deferred_for_as_long_as_esi_and_sso_require(
    services: Services,
    sandbox: SandboxServer,
    seeded: dict[str, Any],
    run: Callable[[AddedJob], Job],
    path: str,
    failure: dict[str, Any],
    seconds: float,
) -> None:
    sandbox.fail(path, times=9, **failure)
    character_id = seeded["character_id"]
    job = run(refresh_esi_data(character_id, 1, "/characters/{character_id}/wallet"))
    check_deferred(job, seconds, f"answered {failure['status']}")
    state = services.store.documents.state(character_id, "/characters/{character_id}/wallet")
    assert state is None or state.failures == 0


def test_a_collection_is_deferred_too(
    sandbox: SandboxServer, seeded: dict[str, Any], run: Callable[[AddedJob], Job]
) -> None:
    sandbox.fail(JOURNAL, 429, headers={"Retry-After": "30"})
    check_deferred(run(collect_historical_data(seeded["character_id"], 1, "wallet_journal")), 30, "answered 429")


@pytest.mark.parametrize(("named", "seconds"), [(float("inf"), MAX_RETRY_AFTER_SECONDS), (-5.0, 1), (2.5, 2.5)])
def test_any_job_type_may_defer_its_job(app: App, run: Callable[[AddedJob], Job], named: float, seconds: float) -> None:
    def busy(payload: Payload) -> Result:
        raise TryLater("the printer is busy", retry_after_seconds=named)

    app.queues.register(JobType(name="print", queue="prints", payload=Payload, result=Result, run=busy, attempts=1))
    check_deferred(run(queues.add_job("prints", "print", {})), seconds, "the printer is busy")
