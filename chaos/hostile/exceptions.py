"""Hostile exceptions, hard to show, chain, copy or survive; a job may raise or log any of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any, cast

from nomad_actors.broker import Cancelled, Defer, PermanentError

from . import objects, texts

#: What the methods of a job's exception raise, including exceptions that end a process.
_INNER: Sequence[Callable[[], BaseException]] = (
    lambda: ValueError("its own method fails"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    lambda: type("Alien", (BaseException,), {})("not an Exception"),
    lambda: RecursionError("its own method never ends"),
    MemoryError,
    asyncio.CancelledError,
)
_SHOWN_BY = (
    "__str__",
    "__repr__",
    "__format__",
    "__reduce__",
    "__reduce_ex__",
    "__getattribute__",
    "__hash__",
    "__eq__",
)
_BASES: Sequence[type[BaseException]] = (
    Exception,
    ValueError,
    KeyError,
    OSError,
    PermanentError,
    BaseException,
    SystemExit,
)


class NeedsArguments(Exception):
    """An exception whose constructor needs more than `args`: it cannot be copied or unpickled."""

    def __init__(self, status: int, *, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


def exception(draw: random.Random) -> BaseException:
    """Return an exception that is hostile in one or more ways."""
    error = draw.choice(_MAKERS)(draw)
    for spoil in draw.sample((_chain, _add_notes, _lie_about_class), draw.choice((0, 0, 1, 1, 2))):
        with contextlib.suppress(BaseException):
            # Its own methods may fail already.
            spoil(draw, error)
    return error


def _with_failing_methods(draw: random.Random) -> BaseException:
    inner = draw.choice(_INNER)()

    def fail(*_: Any, **__: Any) -> Any:
        raise inner

    methods = dict.fromkeys(draw.sample(_SHOWN_BY, draw.choice((1, 1, 2, 3))), fail)
    return type("Failing", (draw.choice(_BASES),), methods)("a text")


def _with_wrong_texts(draw: random.Random) -> BaseException:
    wrong = draw.choice(
        (
            5,
            None,
            b"bytes",
            "x" * 3_000_000,
            "\ud800",
            "\x00\x1b[2J\n",
            objects.failing("__str__", ValueError(), str)("x"),
        )
    )
    return type("Wrong", (draw.choice(_BASES),), {draw.choice(("__str__", "__repr__")): lambda _: wrong})("a text")


def _with_text(draw: random.Random) -> BaseException:
    kind: type[BaseException] = draw.choice((ValueError, KeyError, OSError, RuntimeError, AssertionError, LookupError))
    return kind(draw.choice((texts.text(draw), "x" * 3_000_000, "\n" * 10_000, "é\ud800" * 5_000)))


def _with_arguments(draw: random.Random) -> BaseException:
    makers: Sequence[Callable[[], BaseException]] = (
        lambda: ValueError(objects.failing_object(draw, draw.choice(_INNER)())),
        lambda: ValueError(objects.nested(draw), objects.cyclic(draw)),
        lambda: KeyError(objects.failing_object(draw)),
        lambda: OSError(objects.anything(draw), "x", b"\xff"),
        lambda: UnicodeDecodeError("utf-8", b"\xff" * 1_000_000, 0, 1, "\ud800"),
        lambda: UnicodeEncodeError("\ud800", "\ud800", 0, 1, "x"),
        lambda: NeedsArguments(5, body=texts.text(draw)),
        ValueError,
        AssertionError,
    )
    return draw.choice(makers)()


def _of_syntax(draw: random.Random) -> BaseException:
    error = draw.choice((SyntaxError, IndentationError))("no syntax")
    for name in draw.sample(
        ("text", "filename", "lineno", "offset", "end_lineno", "end_offset", "msg"), draw.randint(1, 4)
    ):
        odd = (b"bytes \xff", 5, -1, 10**20, "x" * 100_000, "\ud800", None, 1.5, objects.failing_object(draw))
        setattr(error, name, draw.choice(odd))
    return error


def _group(draw: random.Random) -> BaseException:
    each: list[Exception] = [ValueError(texts.text(draw)), _only_exception(_with_failing_methods(draw))]
    group: Exception = ExceptionGroup(texts.text(draw), each)
    for _ in range(draw.choice((0, 1, 30, 400))):
        group = ExceptionGroup("more", [group])
    if draw.random() < 0.3:
        return BaseExceptionGroup("of a process", [group, KeyboardInterrupt(), SystemExit(1)])
    return ExceptionGroup("many", [group, *(ValueError(str(number)) for number in range(draw.choice((0, 300))))])


def _only_exception(error: BaseException) -> Exception:
    # Not by isinstance, which reads attributes of it.
    return cast(Exception, error) if issubclass(type(error), Exception) else ValueError("an exception")


def _of_the_process(draw: random.Random) -> BaseException:
    makers: Sequence[Callable[[], BaseException]] = (
        lambda: SystemExit(draw.choice((None, 0, 1, "text", objects.failing_object(draw)))),
        *(KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, MemoryError, RecursionError),
        *(asyncio.CancelledError, asyncio.TimeoutError, BrokenPipeError, EOFError, SystemError),
        lambda: type("Own", (BaseException,), {})(texts.text(draw)),
        lambda: OSError(24, "Too many open files"),
    )
    return draw.choice(makers)()


def _of_ours(draw: random.Random) -> BaseException:
    makers: Sequence[Callable[[], BaseException]] = (
        lambda: PermanentError(objects.anything(draw)),
        lambda: Defer(objects.anything(draw), objects.anything(draw)),
        lambda: Defer(draw.choice((0, -1, 0.001)), texts.text(draw)),
        lambda: Cancelled(texts.text(draw)),
    )
    try:
        return draw.choice(makers)()
    except Exception as error:
        # If its constructor raises, the job ends with that error.
        return error


def _with_odd_class(draw: random.Random) -> BaseException:
    name = draw.choice(("Na\nme", "é𐀀", "x" * 100_000, "\x1b[31m", "a=b c", "<script>", " "))
    kind = type(name, (draw.choice(_BASES),), {})
    kind.__module__ = draw.choice(("", "a\nb", "\ud800", None, 5, objects.failing_object(draw)))
    if draw.random() < 0.3:
        kind.__qualname__ = draw.choice(("", "\ud800", "x.<locals>\n"))
    return kind("a text")


def _chain(draw: random.Random, error: BaseException) -> None:
    """Add causes: itself, a cycle, or very many."""
    last = error
    for _ in range(draw.choice((0, 1, 3, 2_000))):
        cause = ValueError("a cause")
        if draw.random() < 0.5:
            last.__cause__ = cause
        else:
            last.__context__ = cause
        last = cause
    other = _with_failing_methods(draw)
    last.__cause__ = draw.choice((error, other, None))


def _add_notes(draw: random.Random, error: BaseException) -> None:
    notes = (
        ["a\nnote\ud800"],
        [5, None, b"\xff"],
        5,
        "text",
        [objects.failing_object(draw, draw.choice(_INNER)())],
        ["x" * 1_000_000],
    )
    error.__notes__ = draw.choice(notes)  # type: ignore[assignment]


def _lie_about_class(draw: random.Random, error: BaseException) -> None:
    inner = draw.choice(_INNER)()

    def fail(_: Any) -> Any:
        raise inner

    lie = property(draw.choice((fail, lambda _: int, lambda _: "text")))
    # Only an instance of a class written in Python accepts another class; others are unchanged.
    object.__setattr__(error, "__class__", type("Liar", (type(error),), {"__class__": lie}))


_MAKERS = (
    *(_with_failing_methods, _with_failing_methods, _with_wrong_texts, _with_text, _with_arguments, _with_odd_class),
    *(_of_syntax, _group, _of_the_process, _of_ours),
)
