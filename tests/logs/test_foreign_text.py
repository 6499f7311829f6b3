"""Text of values whose own code raises: always text, always bounded, and interrupts from outside are not swallowed."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
import structlog
from dramatiq import Message
from dramatiq.threading import Interrupt, raise_thread_exception

from nomad_actors import logs
from nomad_actors.broker.worker import steady_log
from nomad_actors.logs import setup
from nomad_actors.logs.foreign_text import describe_error, is_printable, safe_repr, safe_str, safe_traceback
from nomad_actors.logs.json_text import one_line, readable
from nomad_actors.queues.as_job import _data
from tests.support.foreign_values import RAISED, HostileText, OwnBase, cancelled_task, hostile_exceptions


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    """Restore the log level, which some of these tests configure."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: getattr(each, "__name__", "exit"))
def test_a_value_without_a_text_is_shown_by_its_class(raised: Callable[[], BaseException]) -> None:
    value = HostileText(raised)
    for text in (safe_str(value), safe_repr(value), safe_str([value]), f"{safe_repr({'a': value})}"):
        assert type(text) is str
        assert text.startswith("unprintable ")


def test_a_text_is_an_exact_and_bounded_str() -> None:
    class Text(str):
        __slots__ = ()

        def __len__(self) -> int:
            raise SystemExit

    class Value:
        def __str__(self) -> str:
            return Text("x" * 3_000_000)

    assert type(safe_str(Value())) is str
    assert len(safe_str(Value())) < 1_001_000
    assert safe_str("abcdef", 3) == "abc… [3 characters left out]"
    assert safe_str(ValueError("plain")) == "plain"
    assert describe_error(KeyError()) == "KeyError"


@pytest.mark.parametrize("make", hostile_exceptions(), ids=lambda make: make.__name__)
def test_every_exception_has_a_traceback_that_names_it(make: Callable[[], BaseException]) -> None:
    text = name = ""
    try:
        raise make()
    except BaseException as error:
        text, name = safe_traceback(error), type(error).__name__
    # Not in the parameters: pytest itself cannot print these exceptions.
    assert "test_every_exception_has_a_traceback" in text or make.__name__ == "huge"
    assert name in text or make.__name__ == "huge"
    assert len(text) <= 1_000_100


def test_python_itself_cannot_print_some_of_them() -> None:
    made = {make.__name__: make() for make in hostile_exceptions()}
    unprintable = {name for name, error in made.items() if not is_printable(error)}
    assert {"syntax_error_of_bytes", "class_that_raises"} <= unprintable


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_a_log_call_never_raises(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, stream = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(root, "handlers", [])
    logs.configure(log_format, "info", stream)
    ours, others = logs.get_logger("a-job"), logging.getLogger("other")
    calls = 0
    for raised in RAISED:
        value = HostileText(raised)
        ours.info("a field", field=value, fields={"deep": [value]})
        ours.info("an argument %s", value)
        others.info("an argument %s %d", value, value)
        others.info(value)
        calls += 4
    for make in hostile_exceptions():
        try:
            raise make()
        except BaseException as error:
            ours.error("ours", exc_info=True)
            ours.error("ours", exc_info=error)
            others.exception("theirs")
        calls += 3
    lines = stream.getvalue().rstrip("\n").split("\n")
    assert len(lines) == calls
    if log_format == "json":
        assert all(json.loads(line)["event"] for line in lines)


def test_arguments_that_are_not_json_are_shown_as_far_as_possible() -> None:
    for raised in RAISED:
        kwargs = {"args": [1, HostileText(raised)], "plain": 2}
        shown = _data(Message(queue_name="q", actor_name="a", args=(), kwargs=kwargs, options={}))
        assert json.loads(json.dumps(shown))["plain"] == 2


class _Endless:
    def __init__(self, began: threading.Event) -> None:
        self.began = began

    def __str__(self) -> str:
        self.began.set()
        while True:
            pass


def test_an_interrupt_from_outside_is_raised_again() -> None:
    began, passed = threading.Event(), threading.Event()

    def run() -> None:
        try:
            safe_str(_Endless(began))
        except Interrupt:
            passed.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(5)
    raise_thread_exception(thread.ident, Interrupt)
    thread.join(5)
    assert passed.is_set()


def _cancelled_future() -> None:
    future: Future[None] = Future()
    future.cancel()
    future.result()


def _thrown_into_a_generator() -> None:
    def generator() -> Iterator[int]:
        yield 1

    running = generator()
    next(running)
    running.throw(OwnBase())


def _without_a_readable_traceback() -> None:
    raise type("NoTrace", (BaseException,), {"__traceback__": property(lambda _: cancelled_task())})()


@pytest.mark.parametrize(
    "call", [cancelled_task, _cancelled_future, _thrown_into_a_generator, _without_a_readable_traceback]
)
def test_exceptions_from_c_code_did_not_come_from_outside(call: Callable[[], None]) -> None:
    class Value:
        def __str__(self) -> str:
            call()
            return "never"

    assert safe_str(Value()).startswith("unprintable Value (")


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
@pytest.mark.parametrize("raised", RAISED, ids=lambda each: each.__name__)
def test_a_field_that_cannot_be_read_is_named(
    log_format: str, raised: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy without a request: `isinstance` fails."""

    def fail(*_: object) -> object:
        raise raised()

    class Proxy:
        __class__ = property(fail)  # type: ignore[assignment]

    class Secretive(Exception):
        __getattribute__ = fail

    root, stream = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(root, "handlers", [])
    logs.configure(log_format, "info", stream)
    logs.get_logger("a-job").info("fields", direct=Proxy(), deep={"list": [Proxy()]}, password=Proxy())
    logs.get_logger("a-job").info("an error", exc_info=Secretive("why"))
    first, second = stream.getvalue().splitlines()
    assert first.count("unreadable Proxy") == 3
    assert "Secretive" in second


def test_a_steady_log_call_swallows_errors_of_handlers_but_no_interrupt() -> None:
    began, passed = threading.Event(), threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.threadName == "MainThread":
                raise KeyboardInterrupt
            str(_Endless(began))

    name = "nomad_actors.tests.steady"
    handler = Stuck()
    logging.getLogger(name).addHandler(handler)

    def run() -> None:
        try:
            steady_log.get_logger(name).warning("a line")
        except Interrupt:
            passed.set()

    try:
        steady_log.get_logger(name).warning("a line")
        thread = threading.Thread(target=run)
        thread.start()
        assert began.wait(5)
        raise_thread_exception(thread.ident, Interrupt)
        thread.join(5)
    finally:
        logging.getLogger(name).removeHandler(handler)
    assert passed.is_set()


@pytest.mark.parametrize("raised", RAISED, ids=lambda each: getattr(each, "__name__", "exit"))
def test_a_value_that_is_not_json_is_shown_as_text_safely(
    raised: Callable[[], BaseException],
) -> None:
    value = {"default": HostileText(raised)}
    for text in (one_line(value), readable(value).text):
        assert json.loads(text)["default"].startswith("unprintable HostileText")


@pytest.mark.parametrize("make", hostile_exceptions(), ids=lambda make: make.__name__)
def test_every_uncaught_exception_is_logged(make: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.configure("json", "info", stream)
    error = make()
    setup._log_uncaught(type(error), error, None)
    assert json.loads(stream.getvalue())["event"] == "uncaught exception"
