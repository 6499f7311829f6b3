"""A failed job is reported once, with its error and without its data."""

from __future__ import annotations

import json
import threading
import time

import dramatiq
import pytest
import sentry_sdk
from dramatiq.middleware import AgeLimit, Retries

from nomad_actors.broker import JobBroker, PermanentError
from nomad_actors.broker.endings import Outcome
from nomad_actors.broker.errors import Cancelled
from nomad_actors.broker.worker.watch import Failure
from nomad_actors.logs import error_reports
from nomad_actors.middleware.sentry import Sentry
from nomad_actors.testing import running as worker_of
from tests.support.foreign_values import hostile_exceptions
from tests.support.sentry_project import SentryProject

SECRET = "gEy-8fP2kq0aT1m4ZsBvXw"


@pytest.fixture
def project():
    project = SentryProject()
    yield project
    sentry_sdk.get_client().close()
    sentry_sdk.init()
    error_reports._BUDGET = error_reports._Budget()
    project.close()


@pytest.fixture
def fail(running, project):
    """Run one job that raises `error` in every attempt; return its message once it has failed."""

    def run(error: Exception, *, max_retries: int = 0, middleware=None, **payload):
        settled = threading.Event()

        class Settled(dramatiq.Middleware):
            def after_settle(self, broker, endings):
                if any(e.outcome == Outcome.FAILED for e in endings):
                    settled.set()

        def job(**payload):
            local_secret = SECRET  # noqa: F841
            raise error

        # Settled is first, so its after hook runs last, after Sentry's.
        chain = [Settled(), Sentry(project.dsn), *(middleware or [Retries(max_retries=max_retries, min_backoff=1)])]
        broker = running(
            chain, lambda b: dramatiq.actor(job, broker=b, actor_name="esi-data-refresh", queue_name="esi-refresh")
        )
        sent = broker.get_actor("esi-data-refresh").send(**payload)
        assert settled.wait(10)
        sentry_sdk.flush(5)
        return sent

    return run


def test_a_failed_job_is_reported_once_after_its_last_attempt(fail, project):
    sent = fail(ValueError("ESI said no"), max_retries=2, character_id=7)
    (event,) = project.events
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["exception"]["values"][-1]["value"] == "ESI said no"
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "job"
    assert event["tags"] == {
        "job_type": "esi-data-refresh",
        "queue": "esi-refresh",
        "attempt": "3",
        "service": "workers",
    }
    assert event["contexts"]["job"]["job_id"] == sent.message_id
    assert event["contexts"]["job"]["character_id"] == 7


def test_a_report_has_no_payload_values_local_variables_or_tokens(fail, project):
    fail(ValueError(f"refresh_token={SECRET}"), character_id=7, refresh_token=SECRET, user_id="user-7")
    (event,) = project.events
    assert event["contexts"]["job"]["payload"] == dict.fromkeys(
        ("character_id", "refresh_token", "user_id"), "[hidden]"
    )
    assert event["exception"]["values"][-1]["value"] == "refresh_token=[hidden]"
    assert "user-7" not in project.text
    # The report quotes this test's source; the lines that it quotes do not contain the value.
    assert SECRET not in project.text


def test_a_job_that_fails_on_purpose_is_reported_too(fail, project):
    fail(PermanentError("no such character"), middleware=[Retries(max_retries=5, retry_when=lambda n, e: False)])
    (event,) = project.events
    assert event["exception"]["values"][-1]["type"] == "PermanentError"


def test_an_exception_without_a_retries_middleware_is_reported(fail, project):
    fail(ValueError("no Retries here"), middleware=[AgeLimit()])
    (event,) = project.events
    assert event["message"] == "esi-data-refresh failed: ValueError: no Retries here"


def test_an_unprintable_exception_is_reported_by_its_class(project):
    Sentry(project.dsn).before_worker_boot(None, None)
    for make in hostile_exceptions():
        try:
            raise make()
        except BaseException as error:
            error_reports.report(error, {"job_type": make.__name__, "queue": "q", "attempt": "1"})
    sentry_sdk.flush(5)
    reported = {event["tags"]["job_type"]: json.dumps(event) for event in project.events}
    for make in hostile_exceptions():
        assert type(make()).__name__ in reported[make.__name__]


def test_a_worker_that_ends_itself_is_reported(project):
    sentry = Sentry(project.dsn)
    sentry.before_worker_boot(None, None)
    sentry.after_worker_broken(None, Failure("its thread nomad-pump ended", SystemExit(1)))
    sentry.after_worker_broken(None, Failure("its thread nomad-pump has hung for 60 s"))
    sentry_sdk.flush(5)
    first, second = project.events
    assert first["exception"]["values"][-1]["type"] == "SystemExit"
    assert first["tags"]["reason"] == "its thread nomad-pump ended"
    assert second["message"] == "this worker cannot go on: its thread nomad-pump has hung for 60 s"


def test_each_failed_run_of_a_job_id_is_reported(redis_url, project, wait_until):
    started, release, settled = [], threading.Event(), []

    class Recorder(dramatiq.Middleware):
        def report_settled(self, broker, endings):
            settled.extend(endings)

    broker = JobBroker(url=redis_url, middleware=[Recorder(), Sentry(project.dsn), Retries(max_retries=0)])

    @dramatiq.actor(broker=broker)
    def failing(number):
        started.append(number)
        assert number or release.wait(10)
        raise ValueError(f"run {number}")

    first = failing.send(0)
    # With one thread, the worker asks for the second run in the call that settles the first.
    with worker_of(broker, threads=1):
        wait_until(lambda: started)
        broker.enqueue(failing.message(1).copy(message_id=first.message_id))
        release.set()
        wait_until(lambda: len(settled) == 2)
    broker.close()
    sentry_sdk.flush(5)
    assert [event["exception"]["values"][-1]["value"] for event in project.events] == ["run 0", "run 1"]


def test_an_unreadable_job_is_reported_without_an_exception(project, ended):
    sentry = Sentry(project.dsn)
    sentry.before_worker_boot(None, None)
    sentry.after_settle(None, [ended(actor="unknown", outcome=Outcome.FAILED, error="unreadable job: no JSON")])
    sentry.after_settle(None, [ended(outcome=outcome) for outcome in Outcome if outcome != Outcome.FAILED])
    sentry_sdk.flush(5)
    (event,) = project.events
    assert event["message"] == "unknown failed: unreadable job: no JSON"
    assert event["level"] == "error"
    assert event["tags"]["queue"] == "esi-refresh"


def test_a_cancelled_job_is_not_reported(running, project, wait_until):
    began = threading.Event()

    def endless() -> None:
        began.set()
        while True:
            time.sleep(0.01)

    broker = running(
        [Sentry(project.dsn), Retries(max_retries=0)], lambda b: dramatiq.actor(endless, broker=b, actor_name="endless")
    )
    sent = broker.get_actor("endless").send()
    assert began.wait(10)
    broker.view("default").cancel(sent.message_id, "not needed")
    wait_until(lambda: broker.view("default").counts().failed == 1)
    sentry_sdk.flush(5)
    assert project.events == []


def test_a_job_that_raises_cancelled_itself_has_failed(fail, project):
    fail(Cancelled("not by an operator"))
    (event,) = project.events
    assert event["message"] == "esi-data-refresh failed: Cancelled: not by an operator"


def test_the_memory_of_reported_jobs_is_limited(project, ended, message):
    sentry = Sentry(project.dsn)
    for number in range(10_050):
        lost = dramatiq.MessageProxy(message().copy(message_id=f"lost-{number}"))
        lost.fail()
        sentry.after_process_message(None, lost, exception=ValueError("late"))
    sentry.before_worker_boot(None, None)
    # The latest jobs are remembered: each is not reported again, whatever Redis then confirms as its result.
    sentry.after_settle(None, [ended(job_id="lost-10049", outcome=Outcome.FAILED)])
    sentry.after_settle(None, [ended(job_id="lost-10048", outcome=Outcome.RELEASED)])
    sentry.after_settle(None, [ended(job_id="lost-10048", outcome=Outcome.FAILED, error="ValueError: once more")])
    sentry_sdk.flush(5)
    (event,) = project.events
    assert event["message"] == "esi-data-refresh failed: ValueError: once more"


def test_a_job_that_succeeds_is_not_reported(running, project):
    done = threading.Event()
    broker = running([Sentry(project.dsn), Retries()], lambda b: dramatiq.actor(done.set, broker=b, actor_name="fine"))
    broker.get_actor("fine").send()
    assert done.wait(10)
    broker.join("default", timeout=10_000)
    sentry_sdk.flush(5)
    assert project.events == []
