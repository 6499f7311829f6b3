"""Values whose own code raises, as applications have them by mistake."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
from dramatiq.encoder import JSONEncoder


class OwnBase(BaseException):
    """An application's exception outside of `Exception`."""


def _exit() -> BaseException:
    sys.exit(3)


#: What foreign code may raise in `__str__`; each is called to create it.
RAISED: tuple[Callable[[], BaseException], ...] = (
    ValueError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    MemoryError,
    RecursionError,
    OwnBase,
    _exit,
)


class HostileText:
    """An object whose `str` and `repr` raise."""

    def __init__(self, raised: Callable[[], BaseException]) -> None:
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised()

    __repr__ = __str__


def hostile_exceptions() -> list[Callable[[], BaseException]]:
    """Return factories of exceptions that cannot be printed, or not in the usual way."""

    def syntax_error_of_bytes() -> BaseException:
        return SyntaxError("bad", ("file", 1, 2, b"bytes"))

    def str_that_raises() -> BaseException:
        return MuteError(ValueError)

    def str_that_exits() -> BaseException:
        return MuteError(_exit)

    def str_that_is_cancelled() -> BaseException:
        return MuteError(asyncio.CancelledError)

    def str_that_is_none() -> BaseException:
        return type("NoText", (Exception,), {"__str__": lambda _: None})()

    def class_that_raises() -> BaseException:
        return type("NoClass", (Exception,), {"__class__": property(lambda _: sys.exit())})()

    def notes_that_raise() -> BaseException:
        return type("NoNotes", (Exception,), {"__notes__": property(lambda _: sys.exit())})()

    def traceback_that_raises() -> BaseException:
        return type("NoTraceback", (Exception,), {"__traceback__": property(lambda _: sys.exit())})()

    def context_that_raises() -> BaseException:
        return type("NoContext", (Exception,), {"__context__": property(lambda _: sys.exit())})()

    def attributes_that_raise() -> BaseException:
        return type("NoAttributes", (Exception,), {"__getattribute__": lambda *_: sys.exit()})()

    def arguments_that_raise() -> BaseException:
        return type("NoArguments", (Exception,), {"args": property(lambda _: sys.exit())})()

    def cause_that_raises() -> BaseException:
        return type("NoCause", (Exception,), {"__cause__": property(lambda _: sys.exit())})()

    def causes_in_a_circle() -> BaseException:
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        return first

    def group_of_mutes() -> BaseException:
        return ExceptionGroup("group", [MuteError(_exit), SyntaxError("bad", ("file", 1, 2, b"bytes"))])

    def deep_group() -> BaseException:
        group: Exception = ValueError("deep")
        for _ in range(500):
            group = ExceptionGroup("group", [group])
        return group

    def huge() -> BaseException:
        return ValueError("x" * 2_000_000)

    def surrogates() -> BaseException:
        return ValueError("\ud800 \x00 \u2028")

    def base_exception() -> BaseException:
        return OwnBase("own")

    return [value for value in locals().values() if callable(value)]


class MuteError(ValueError):
    """An exception without a text."""

    def __init__(self, raised: Callable[[], BaseException]) -> None:
        super().__init__()
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised()


@contextmanager
def encoder_that_raises(raised: Callable[[], BaseException], where: str = "") -> Iterator[None]:
    """Exceptions whose message is a text from an application's encoder that raises."""

    class Encoder(JSONEncoder):
        def encode(self, data: dict[str, Any]) -> bytes:
            if where in repr(data):
                raise raised()
            return super().encode(data)

    before = dramatiq.get_encoder()
    dramatiq.set_encoder(Encoder())
    try:
        yield
    finally:
        dramatiq.set_encoder(before)


def cancelled_task() -> None:
    """Raise as C code does, without a raise instruction."""
    loop = asyncio.new_event_loop()
    try:
        future = loop.create_future()
        future.cancel()
        future.result()
    finally:
        loop.close()
