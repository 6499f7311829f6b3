"""Dramatiq's own `Results` with our backend: the result is there the moment the job has completed."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
import pytest
from dramatiq.results import ResultFailure, ResultMissing, Results, ResultTimeout

from nomad_actors.broker import Defer, JobBroker, JobResults, State
from nomad_actors.testing import running


@pytest.fixture
def results(broker: JobBroker) -> JobBroker:
    """A broker whose jobs' results are stored."""
    broker.add_middleware(Results(backend=JobResults(broker), store_results=True))
    return broker


def test_a_result_is_waited_for_and_stays_with_the_job(results: JobBroker) -> None:
    @dramatiq.actor
    def add(x: int, y: int) -> dict[str, int]:
        return {"sum": x + y}

    message = add.send(1, 2)
    with pytest.raises(ResultMissing):
        message.get_result()
    with pytest.raises(ResultTimeout):
        message.get_result(block=True, timeout=50)
    with running(results):
        assert message.get_result(block=True, timeout=5000) == {"sum": 3}
    assert message.get_result() == {"sum": 3}


def test_nothing_is_a_result_too(results: JobBroker) -> None:
    message = dramatiq.actor(lambda: None, actor_name="job").send()
    with running(results):
        assert message.get_result(block=True, timeout=5000) is None


def test_the_error_of_a_failed_job_is_raised_where_its_result_is_asked_for(results: JobBroker) -> None:
    @dramatiq.actor(max_retries=0)
    def job() -> None:
        raise ValueError("why")

    message = job.send()
    with running(results), pytest.raises(ResultFailure, match="ValueError: why") as raised:
        message.get_result(block=True, timeout=5000)
    assert (raised.value.orig_exc_type, raised.value.orig_exc_msg) == ("ValueError", "why")


def test_the_result_of_a_deferred_job_is_that_of_the_run_that_completes(results: JobBroker) -> None:
    runs: list[int] = []

    @dramatiq.actor
    def job() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise Defer(0.05)
        return "second"

    message = job.send()
    with running(results):
        assert message.get_result(block=True, timeout=5000) == "second"


@pytest.mark.parametrize(
    ("result", "reason"),
    [(object(), "its result cannot be encoded: TypeError"), ("x" * 1_100_000, "its result takes 1100002 bytes")],
)
def test_a_result_that_cannot_be_kept_fails_the_job_with_that_reason(
    results: JobBroker, wait_until: Callable[..., None], result: object, reason: str
) -> None:
    message = dramatiq.actor(lambda: result, actor_name="job", max_retries=0).send()
    after = dramatiq.actor(lambda: 1, actor_name="after").send()
    view = results.view("default")
    with running(results):
        assert after.get_result(block=True, timeout=5000) == 1
        wait_until(lambda: (found := view.get(message.message_id)) and found.state is State.FAILED)
    found = view.get(message.message_id)
    assert found is not None
    assert str(found.reason()).startswith(reason)


def test_a_long_result_is_not_cut(results: JobBroker) -> None:
    message = dramatiq.actor(lambda: "x" * 900_000, actor_name="job").send()
    with running(results):
        assert len(message.get_result(block=True, timeout=5000)) == 900_000


def test_results_of_groups_and_pipelines_are_read_the_usual_way(results: JobBroker) -> None:
    @dramatiq.actor
    def double(x: int) -> int:
        return 2 * x

    pipeline = dramatiq.pipeline([double.message(1), double.message(), double.message()])
    group = dramatiq.group([double.message(n) for n in range(3)])
    with running(results):
        assert pipeline.run().get_result(block=True, timeout=5000) == 8
        assert list(group.run().get_results(block=True, timeout=5000)) == [0, 2, 4]
