"""The delay of a retry: chosen once, and the log, the job's story and middleware say the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
from dramatiq.errors import Retry

from nomad_actors.broker import JobBroker, State
from nomad_actors.testing import running


class Enqueued(dramatiq.Middleware):
    """Keeps the delays of what is enqueued."""

    def __init__(self) -> None:
        self.delays: list[int | None] = []

    def after_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None) -> None:
        self.delays.append(delay)


def _choose(message: dramatiq.Message[Any], attempt: int, chosen_ms: int) -> int:
    return 123_456 + attempt


def _fail(message: dramatiq.Message[Any], attempt: int, chosen_ms: int) -> int:
    raise ValueError("no delay")


@pytest.mark.parametrize(
    ("retry_delay", "raised", "delay_ms"),
    [
        (None, ValueError(), None),
        (_choose, ValueError(), 123_457),
        (_choose, Retry(delay=77_000), 77_000),
        (_choose, Retry(), 123_457),
        (_fail, ValueError(), None),
    ],
)
def test_a_retry_is_logged_once_with_its_delay(
    make_broker: Callable[..., JobBroker],
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    retry_delay: Any,
    raised: Exception,
    delay_ms: int | None,
) -> None:
    caplog.set_level("INFO")
    broker = make_broker(retry_delay=retry_delay)
    enqueued = Enqueued()
    broker.add_middleware(enqueued)

    def job() -> None:
        raise raised

    message = dramatiq.actor(job, broker=broker, max_retries=3).send()
    view = broker.view("default")
    with running(broker, threads=1):
        wait_until(lambda: view.counts().delayed == 1)
    stored = view.get(message.message_id)
    assert stored is not None
    assert stored.state is State.DELAYED
    (retry,) = [event for event in stored.timeline() if event["event"] == "retry"]
    (logged,) = re.findall(r"Retrying message .* in (\d+) milliseconds", caplog.text)
    assert int(str(retry["due"])) - int(str(retry["at"])) == int(logged) == enqueued.delays[-1]
    assert delay_ms in (None, int(logged))
