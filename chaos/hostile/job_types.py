"""Job types for hostile jobs: one accepts any data, one ends as its case says, and one does nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, cast

from pydantic import Field

from nomad_actors import Backoff, Defer, JobType, Payload, Result, current_job

from . import exceptions, objects, texts
from .case import Case

DATA_QUEUE, ENDS_QUEUE = "hostile", "hostile-ends"
#: Jobs that ran once in this process. Deferring spends no attempt, so the attempt number would not end it.
_BEGUN: set[str] = set()


class Inner(Payload):
    """A model in a model."""

    name: str = ""
    value: Any = None


class Anything(Payload):
    """A field of every kind; `value` accepts anything."""

    value: Any = None
    text: str = ""
    number: int = 0
    ratio: float = 0.0
    day: date | None = None
    inner: Inner | None = None
    many: dict[str, Any] = Field(default_factory=dict)
    pairs: list[tuple[int, str]] = Field(default_factory=list)


class Echo(Result):
    """The value that the job got."""

    value: Any = None


class CaseOf(Payload):
    """The case that decides how the job ends."""

    seed: int
    number: int
    kind: str = "job"


def echo(payload: Anything) -> Echo:
    """Return the value of the payload."""
    return Echo(value=payload.value)


def end(payload: CaseOf) -> Result:
    """Report, log, return or raise what the case says; runs after the first one return."""
    case = Case(payload.seed, payload.kind, payload.number)
    if current_job().id in _BEGUN:
        return Result()
    _BEGUN.add(current_job().id)
    draw = case.draw()
    _report(draw)
    if draw.random() < 0.75:
        raise exceptions.exception(draw)
    return _result(draw)


def plain(payload: Inner) -> Result:
    """Do nothing."""
    return Result()


def _report(draw: random.Random) -> None:
    if draw.random() < 0.3:
        current_job().log(cast(str, draw.choice((texts.text(draw), objects.anything(draw)))))
    if draw.random() < 0.3:
        done, total = draw.choice(objects.NUMBERS), draw.choice(objects.NUMBERS)
        current_job().progress(done, total, draw.choice((texts.text(draw), objects.anything(draw))))
    if draw.random() < 0.1:
        raise Defer(0.001, texts.text(draw))


def _result(draw: random.Random) -> Any:
    results: Sequence[Callable[[], Any]] = (
        lambda: Echo(value=objects.json_value(draw)),
        lambda: Echo(value=objects.anything(draw)),
        lambda: Echo.model_construct(value=objects.failing_object(draw), more=objects.cyclic(draw)),
        lambda: objects.anything(draw),
        lambda: None,
    )
    return draw.choice(results)()


DATA = JobType(
    name="hostile-data",
    queue=DATA_QUEUE,
    payload=Anything,
    result=Echo,
    run=echo,
    attempts=1,
    concurrency=4,
    indexed=("text", "number"),
)
END = JobType(
    name="hostile-end",
    queue=ENDS_QUEUE,
    payload=CaseOf,
    result=Result,
    run=end,
    attempts=2,
    backoff=Backoff("fixed", 1),
    concurrency=4,
)
PLAIN = JobType(name="hostile-plain", queue=ENDS_QUEUE, payload=Inner, result=Result, run=plain, attempts=1)
