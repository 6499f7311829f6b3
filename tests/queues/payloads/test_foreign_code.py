"""Whatever a payload's own code raises, the job is refused; exceptions from outside are passed on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from dramatiq.threading import Interrupt, raise_thread_exception
from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, create_model, field_serializer, field_validator

from nomad_actors.errors import BadPayload
from nomad_actors.queues.job_type import JobType, Payload, Result
from tests.support.foreign_values import RAISED, MuteError


def job_type(payload: type[Payload]) -> JobType:
    return JobType(name="carry", queue="carried", payload=payload, result=Result, run=lambda _: Result())


class Foreign(Payload):
    """Raises the chosen exception at the step that `at` names."""

    at: str = ""
    raised: int = 0

    @field_validator("raised", mode="after")
    @classmethod
    def _checks(cls, value: int, info: ValidationInfo) -> int:
        if info.data["at"] == "check":
            raise RAISED[value]()
        if info.data["at"] == "text":
            raise MuteError(RAISED[value])
        return value

    @field_serializer("raised")
    def _writes(self, value: int) -> int:
        if self.at == "write":
            raise RAISED[value]()
        return value


class Unequal:
    """A value that arrives unchanged but cannot be compared."""

    def __init__(self, raised: Callable[[], BaseException]) -> None:
        self.raised = raised

    def __eq__(self, other: object) -> bool:
        raise self.raised()

    __hash__ = None  # type: ignore[assignment]


every_kind = pytest.mark.parametrize("kind", range(len(RAISED)), ids=lambda n: RAISED[n].__name__)


@every_kind
@pytest.mark.parametrize("at", ["check", "text", "write"])
def test_a_payload_whose_own_code_raises_is_refused(kind: int, at: str) -> None:
    carried = job_type(Foreign)
    for refuse in (carried.write, carried._codec.write_given):
        with pytest.raises(BadPayload, match="wrong data for job type 'carry': "):
            refuse({"at": at, "raised": kind})
    if at != "write":
        with pytest.raises(BadPayload, match=r"payload: its own code failed|raised: "):
            carried.read({"at": at, "raised": kind})


@every_kind
def test_a_payload_whose_value_raises_is_refused(kind: int) -> None:
    class Odd:
        @property
        def __class__(self) -> Any:
            raise RAISED[kind]()

    with pytest.raises(BadPayload, match="payload: "):
        job_type(Foreign).validate(Odd())
    made = BeforeValidator(lambda _: Unequal(RAISED[kind]))
    field: Any = Annotated[Any, made, PlainSerializer(lambda _: "same", return_type=str)]
    compared = job_type(create_model("Compared", __base__=Payload, it=(field, ...)))
    with pytest.raises(BadPayload, match="it cannot be compared"):
        compared.write({"it": "same"})


def test_an_interrupt_during_a_check_is_passed_on() -> None:
    class Slow(Payload):
        n: int

        @field_validator("n")
        @classmethod
        def _waits(cls, value: int) -> int:
            raise_thread_exception(threading.get_ident(), Interrupt)
            while True:
                pass

    with pytest.raises(Interrupt):
        job_type(Slow).write({"n": 1})


def test_the_error_text_is_bounded_however_much_is_wrong() -> None:
    class Few(Payload):
        number: int = 0

    data = {f"{'k' * 50_000}{number}": "v" * 50_000 for number in range(60)}
    with pytest.raises(BadPayload) as refused:
        job_type(Few).write(data)
    message = str(refused.value)
    assert len(message) < 20_000
    assert "kkkk" in message
    assert "; and 40 more (allowed: number" in message
