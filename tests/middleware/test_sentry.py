"""A job that failed is reported once, with what happened and without what it carried."""

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

        # Settled stands first: it is told last, when Sentry has been.
        listed = [Settled(), Sentry(project.dsn), *(middleware or [Retries(max_retries=max_retries, min_backoff=1)])]
        broker = running(
            listed, lambda b: dramatiq.actor(job, broker=b, actor_name="esi-data-refresh", queue_name="esi-refresh")
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


def test_neither_payload_nor_local_variables_nor_tokens_are_told(fail, project):
    fail(ValueError(f"refresh_token={SECRET}"), character_id=7, refresh_token=SECRET, user_id="user-7")
    (event,) = project.events
    assert event["contexts"]["job"]["payload"] == dict.fromkeys(
        ("character_id", "refresh_token", "user_id"), "[hidden]"
    )
    assert event["exception"]["values"][-1]["value"] == "refresh_token=[hidden]"
    assert "user-7" not in project.text
    # The test's own source line, which a report quotes, does not contain the value.
    assert SECRET not in project.text


def test_a_job_that_fails_on_purpose_is_reported_too(fail, project):
    fail(PermanentError("no such character"), middleware=[Retries(max_retries=5, retry_when=lambda n, e: False)])
    (event,) = project.events
    assert event["exception"]["values"][-1]["type"] == "PermanentError"


def test_an_exception_that_nobody_decided_on_is_reported(fail, project):
    fail(ValueError("no Retries here"), middleware=[AgeLimit()])
    (event,) = project.events
    assert event["message"] == "esi-data-refresh failed: ValueError: no Retries here"


def test_an_exception_that_cannot_be_printed_is_reported_by_its_class(project):
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
    sentry.after_worker_broken(None, Failure("its thread nomad-pump has stood still for 60 s"))
    sentry_sdk.flush(5)
    first, second = project.events
    assert first["exception"]["values"][-1]["type"] == "SystemExit"
    assert first["tags"]["reason"] == "its thread nomad-pump ended"
    assert second["message"] == "this worker cannot go on: its thread nomad-pump has stood still for 60 s"


def test_a_job_that_runs_once_more_and_fails_again_is_reported_for_each_run(redis_url, project, wait_until):
    ran, go_on, told = [], threading.Event(), []

    class Told(dramatiq.Middleware):
        def report_settled(self, broker, endings):
            told.extend(endings)

    broker = JobBroker(url=redis_url, middleware=[Told(), Sentry(project.dsn), Retries(max_retries=0)])

    @dramatiq.actor(broker=broker)
    def again(number):
        ran.append(number)
        assert number or go_on.wait(10)
        raise ValueError(f"run {number}")

    first = again.send(0)
    # With one thread the second run is asked for together with the first one's end.
    with worker_of(broker, threads=1):
        wait_until(lambda: ran)
        broker.enqueue(again.message(1).copy(message_id=first.message_id))
        go_on.set()
        wait_until(lambda: len(told) == 2)
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
    broker.view("default").cancel(sent.message_id, "an operator's word")
    wait_until(lambda: broker.view("default").counts().failed == 1)
    sentry_sdk.flush(5)
    assert project.events == []


def test_a_job_that_says_by_itself_that_it_was_cancelled_has_failed(fail, project):
    fail(Cancelled("nobody asked"))
    (event,) = project.events
    assert event["message"] == "esi-data-refresh failed: Cancelled: nobody asked"


def test_jobs_whose_end_was_refused_are_not_remembered_for_ever(project, ended, message):
    sentry = Sentry(project.dsn)
    for number in range(10_050):
        lost = dramatiq.MessageProxy(message().copy(message_id=f"lost-{number}"))
        lost.fail()
        sentry.after_process_message(None, lost, exception=ValueError("late"))
    sentry.before_worker_boot(None, None)
    # One that has just failed and was reported is still known as such, also when it ended otherwise than it looked.
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
