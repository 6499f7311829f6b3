"""The middleware stands in the order that its reasons demand."""

from __future__ import annotations

import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries

from nomad_actors.middleware import middleware_for
from nomad_actors.middleware.job_context import JobContext
from nomad_actors.middleware.sentry import Sentry
from nomad_actors.settings import Settings

WITH_SENTRY = Settings(sentry_dsn="http://public@127.0.0.1:1/1")


@pytest.fixture
def names():
    return [type(middleware).__name__ for middleware in middleware_for(WITH_SENTRY)]


def test_the_order_is_the_one_that_is_written_down(names):
    assert names == [
        "JobContext",
        "Metrics",
        "JobLog",
        "Sentry",
        "PeriodicOption",
        "AgeLimit",
        "TimeLimit",
        "ShutdownNotifications",
        "Callbacks",
        "Pipelines",
        "Retries",
    ]


def test_retries_decides_before_sentry_looks_and_the_context_goes_last():
    told = [type(m) for m in reversed(middleware_for(WITH_SENTRY))]
    assert told.index(Retries) < told.index(Sentry) < told.index(JobContext)


def test_without_a_dsn_nothing_is_reported():
    assert not [m for m in middleware_for(Settings()) if isinstance(m, Sentry)]


def test_two_brokers_share_no_middleware():
    first, second = middleware_for(Settings()), middleware_for(Settings())
    assert not {map(id, first)} & {map(id, second)}


def test_the_settings_are_the_defaults_of_actors_that_say_nothing():
    (retries,) = [m for m in middleware_for(Settings(max_retries=3, retry_delay_ms=50)) if isinstance(m, Retries)]
    assert (retries.max_retries, retries.min_backoff) == (2, 50)


def test_options_of_dramatiq_and_periodiq_are_legal():
    broker = StubBroker(middleware=middleware_for(Settings()))
    expected = {"max_retries", "throws", "time_limit", "max_age", "pipe_target", "on_success", "periodic"}
    assert expected <= broker.actor_options
