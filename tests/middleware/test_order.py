"""The middleware is in the documented order."""

from __future__ import annotations

import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries

from nomad_actors.middleware.job_context import JobContext
from nomad_actors.middleware.order import middleware_for
from nomad_actors.middleware.sentry import Sentry
from nomad_actors.settings import Settings

WITH_SENTRY = Settings(sentry_dsn="http://public@127.0.0.1:1/1")


@pytest.fixture
def names():
    return [type(middleware).__name__ for middleware in middleware_for(WITH_SENTRY)]


def test_the_middleware_is_in_the_documented_order(names):
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


def test_after_a_run_retries_comes_before_sentry_and_the_context_last():
    after_order = [type(m) for m in reversed(middleware_for(WITH_SENTRY))]
    assert after_order.index(Retries) < after_order.index(Sentry) < after_order.index(JobContext)


def test_without_a_dsn_there_is_no_sentry_middleware():
    assert not [m for m in middleware_for(Settings()) if isinstance(m, Sentry)]


def test_each_broker_gets_new_middleware():
    first, second = middleware_for(Settings()), middleware_for(Settings())
    assert not {map(id, first)} & {map(id, second)}


def test_the_settings_are_the_defaults_of_actors():
    (retries,) = [m for m in middleware_for(Settings(max_retries=3, retry_delay_ms=50)) if isinstance(m, Retries)]
    assert (retries.max_retries, retries.min_backoff) == (2, 50)


def test_actors_take_the_options_of_dramatiq_and_periodiq():
    broker = StubBroker(middleware=middleware_for(Settings()))
    expected = {"max_retries", "throws", "time_limit", "max_age", "pipe_target", "on_success", "periodic"}
    assert expected <= broker.actor_options
