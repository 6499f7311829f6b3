"""A log line is one line and one record, valid JSON or logfmt, for any values and names."""

from __future__ import annotations

import decimal
import enum
import io
import json
import logging
import re
from collections import ChainMap, UserDict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from dramatiq import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nomad_actors import logs
from nomad_actors.broker.endings import Ended, Outcome
from nomad_actors.logs import setup
from nomad_actors.middleware.job_log import JobLog

_PAIR = re.compile(r'([^\s="\\]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]*)(?: |$)')
OWN = ["timestamp", "level", "module", "event"]


def strict_json(line: str) -> dict[str, Any]:
    """Return a line's fields; fail for invalid JSON, duplicate names and lone surrogates."""

    def refuse(what: object) -> None:
        raise AssertionError(f"{what} is not JSON: {line}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), line
        return dict(pairs)

    found: dict[str, Any] = json.loads(line, parse_constant=refuse, object_pairs_hook=unique)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def strict_logfmt(line: str) -> dict[str, Any]:
    """Return a line's fields; fail for duplicate names and for values that are neither bare nor quoted."""
    assert not _PAIR.sub("", line), f"not logfmt: {line!r}"
    pairs = [(name, json.loads(value) if value.startswith('"') else value) for name, value in _PAIR.findall(line)]
    assert len(dict(pairs)) == len(pairs), line
    return dict(pairs)


def the_line(text: str, log_format: str) -> dict[str, Any]:
    """Return the fields of the only line."""
    text.encode()
    assert text.endswith("\n")
    # Also checks other line ends, of Python, editors and terminals.
    assert len(text.splitlines()) == 1, text
    assert len(text.encode()) <= logs.LINE_BYTES
    fields = strict_json(text) if log_format == "json" else strict_logfmt(text[:-1])
    assert list(fields)[:4] == OWN
    return fields


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(log_format: str) -> io.StringIO:
    """Configure the log to write to memory, without pytest's own handlers, which fail on odd values."""
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, setup.LineHandler)]
    return stream


class Evil:
    """An object that raises for every operation."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__
    __format__ = __str__  # type: ignore[assignment]


class EvilDict(UserDict[str, int]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise SystemExit(3)


class EvilError(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise SystemExit(3)


class EvilText(str):
    """A `str` whose text differs from its value."""

    __slots__ = ()

    def __str__(self) -> str:
        return EvilText("two\nlines")

    __repr__ = __str__


class Colour(enum.IntEnum):
    """A number with a text of its own."""

    RED = 1

    def __str__(self) -> str:
        raise ValueError


def _within_itself() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = found["b"] = found["c"] = [found, found]
    return found


def _deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


ODD: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": [float("inf"), {"x": float("-inf")}],
    "huge": 10**5000,
    "huge below": {"x": [-(10**6000)]},
    "bytes": b"\xff\x00\n",
    "half a pair": "\ud800 and \udfff",
    "half a pair as a name": {"\ud800": 1},
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\x9b",
    "quotes": 'a "b" \\ \\" \'=\' = x=y',
    "evil": Evil(ValueError()),
    "evil exit": [Evil(SystemExit(3)), {Evil(KeyboardInterrupt()): 1}],
    "evil mapping": EvilDict(a=1),
    "evil error": EvilError(),
    "evil text": EvilText("x"),
    "enum": [Colour.RED, {"x": Colour.RED}],
    "true": [True, None],
    "set": {1, "a"},
    "names": {1: "a", "1": "b", None: 2, "None": 3, (1, 2): 4, b"x": 5, 1.5: 6},
    "within itself": _within_itself(),
    "deep": _deep(50_000),
    "wide": [[["x"] * 100] * 100] * 100,
    "moments": [datetime(2026, 1, 1, tzinfo=UTC), decimal.Decimal("NaN"), decimal.Decimal("1e999999")],
    "mapping": ChainMap({"a": 1}, {"b": float("nan")}),
    "an error": ValueError("two\nlines"),
    "a class": Evil,
    "emoji": "\U0001f600",
}


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
@pytest.mark.parametrize("odd", ODD)
def test_a_line_can_contain_any_value(odd: str, log_format: str) -> None:
    stream = configured(log_format)
    value = ODD[odd]
    logging.getLogger("stdlib").info("with %s", value)
    logging.getLogger("stdlib").info(value)
    logs.get_logger("ours").info("with", value=value)
    logs.get_logger("ours").info("with %s", value)
    logs.get_logger("ours").info(value)
    with structlog.contextvars.bound_contextvars(bound=value):
        logs.get_logger("ours").info("bound")
    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == 6
    for line in lines:
        the_line(line + "\n", log_format)


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_a_callers_field_does_not_replace_a_reserved_field(log_format: str) -> None:
    stream = configured(log_format)
    own = {"timestamp": "never", "level": "error", "module": "other", "exception": "none", "stack": "none"}
    try:
        raise ValueError("the real one")
    except ValueError:
        logs.get_logger("m").info("x", **own, exc_info=True)
    with structlog.contextvars.bound_contextvars(event="forged", level="error"):
        logging.getLogger("n").info("y")
    first, second = (the_line(f"{line}\n", log_format) for line in stream.getvalue().splitlines())
    assert (first["level"], first["module"], first["event"]) == ("info", "m", "x")
    assert "the real one" in first["exception"]
    assert (first["level_"], first["timestamp_"], first["exception_"]) == ("error", "never", "none")
    assert (second["event"], second["event_"], second["level"], second["level_"]) == ("y", "forged", "info", "error")


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
@pytest.mark.parametrize("arguments", [("%d", "x"), ("%s %s", 1), ("%(a)s", {"b": 1}), ("%", 1), ("%q", [1]), ("x", 1)])
def test_unformattable_messages_are_logged_and_raise_nothing(
    arguments: tuple[Any, ...], log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = configured(log_format)
    logging.getLogger("n").info(*arguments)
    logs.get_logger("m").info(*arguments, password="hush")
    for line in stream.getvalue().splitlines():
        assert str(arguments[0]) in the_line(f"{line}\n", log_format)["event"]
    assert stream.getvalue().count("\n") == 2
    assert "hush" not in stream.getvalue()
    # Python's own error report quotes the arguments.
    assert capsys.readouterr() == ("", "")


def test_an_error_of_the_log_itself_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured("json")
    stream.close()
    logging.getLogger("n").info("refresh_token=%s", "hush")
    assert "hush" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_an_exception_that_cannot_be_printed_is_a_line_too(log_format: str) -> None:
    stream = configured(log_format)
    wrong = SyntaxError("x")
    wrong.filename, wrong.lineno, wrong.text = "f", 1, b"bytes"  # type: ignore[assignment]
    for error in (EvilError(), wrong, ValueError(Evil(SystemExit()))):
        try:
            raise error
        except Exception:
            logs.get_logger("m").exception("it broke")
        assert type(error).__name__ in the_line(stream.getvalue(), log_format)["exception"]
        stream.seek(0)
        stream.truncate()


_TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | st.binary(max_size=9) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_TEXTS | st.integers() | st.booleans() | st.none(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


#: Arguments of a logging call that are not fields.
OF_LOGGING = ("event", "exc_info", "stack_info", "stacklevel", "extra")


@pytest.mark.parametrize("text", ["\u1680", "\u3000", "a\u2003b", "\ud800"])
@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_any_space_and_half_a_character_can_be_read_back(log_format: str, text: str) -> None:
    stream = configured(log_format)
    logs.get_logger("m").info(text, field=text)
    the_line(stream.getvalue(), log_format)
    written: list[str] = []
    job_log = JobLog(log_format=log_format, log_level="info", write=written.append)
    ended = Ended(
        queue=text, actor=text, job_id=text, outcome=Outcome.COMPLETED, attempt=1, ready_ms=0, started_ms=0, ended_ms=0,
        wait_ms=0, run_ms=0, error=text, message=None,
    )  # fmt: skip
    job_log.report_settled(None, [ended])  # type: ignore[arg-type]
    the_line(written.pop(), log_format)


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
@given(event=_VALUES, fields=st.dictionaries(_TEXTS | st.sampled_from([*OWN, "a b", "a_b", "=", ""]), _VALUES))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_event_with_any_fields_is_one_line(log_format: str, event: Any, fields: dict[str, Any]) -> None:
    stream = configured(log_format)
    names = {name: value for name, value in fields.items() if name not in OF_LOGGING}
    logs.get_logger("m").info(event, **names)
    found = the_line(stream.getvalue(), log_format)
    assert len(found) == 4 + len(names)


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
@given(
    queue=_TEXTS, actor=_TEXTS, job_id=_TEXTS, error=st.none() | _TEXTS, wait_ms=st.floats(), run_ms=st.floats(),
    payload=st.dictionaries(st.just("character_id") | _TEXTS, _VALUES, max_size=3),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_end_of_any_job_is_one_line(log_format: str, payload: Mapping[str, Any], **facts: Any) -> None:
    written: list[str] = []
    job_log = JobLog(log_format=log_format, log_level="info", write=written.append)
    message: Message[Any] = Message(
        queue_name="q", actor_name="a", args=(), kwargs=dict(payload), options={}, message_id="m", message_timestamp=0
    )
    for outcome in (Outcome.COMPLETED, Outcome.FAILED):
        ended = Ended(outcome=outcome, attempt=1, ready_ms=0, started_ms=0, ended_ms=0, message=message, **facts)
        job_log.report_settled(None, [ended])  # type: ignore[arg-type]
        the_line(written.pop(), log_format)
