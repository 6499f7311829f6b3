"""Log lines in one form, logfmt or JSON, whoever writes them: we through structlog, libraries through stdlib.

Every line says `timestamp`, `level`, `module` and `event`, then its own fields, then those of the job that its thread
runs. Secrets are hidden before a line is formed (`redaction`), and no line is longer than what log readers take whole.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from itertools import islice
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from .captured_output import PrintedLines
from .foreign_text import came_from_outside, describe_error, safe_repr, safe_str, safe_traceback, traceback_of
from .redaction import as_text, hide_secrets, shortened, unused

#: Where structlog's fields travel on a stdlib record.
_FIELDS = "nomad_fields"
#: Docker's log driver cuts a line at 16 KiB, and then neither part can be read.
LINE_BYTES = 16_000
#: Characters of a text in a line; where the line would be too long all the same, fewer.
TEXT_CHARACTERS = (6_000, 1_500, 300, 50)
#: Fields of a line that no shorter text makes short enough.
_LEAST_FIELDS = 12
#: What alembic says each time that it looks at a database, changed or not.
_NO_NEWS = ("Context impl", "Will assume")
#: What a line says of itself; a field of this name that a caller passes gets an underscore after it.
_OWN_FIELDS = ("timestamp", "level", "module", "event")
_BARE = re.compile(r'[^\x00-\x20\s"=\\\x7f-\xa0\u2028\u2029\ud800-\udfff]+')
_UNFIT_FOR_NAME = re.compile(r'[\x00-\x20\s="\\\x7f-\x9f\ud800-\udfff]+')
#: Ends of lines for some readers, which JSON leaves as they are in a quoted text.
_UNFIT_FOR_LINE = re.compile("[\x7f-\x9f\u2028\u2029]")


#: Tells which job this thread (or coroutine) runs: set by middleware, asked only when a line is written, since most
#: jobs write none.
JOB_FACTS: ContextVar[Callable[[], Mapping[str, Any]] | None] = ContextVar("nomad_job_facts", default=None)


class LineHandler(logging.StreamHandler[TextIO]):
    """The one handler of the root logger that `configure` sets up."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing: standard error is where the line could not go, and Python's own report quotes what it held."""


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Make every log line of this process come out on `stream` in `log_format` ("logfmt" or "json").

    The stream is standard error as it is now: Dramatiq's CLI puts a pipe in its place after it has forked.
    """
    handler = LineHandler(stream or _itself(sys.stderr))
    handler.setFormatter(_LineFormatter(log_format))
    root = logging.getLogger()
    for other in list(root.handlers):
        # Ours of before, and what `logging.basicConfig` made (Dramatiq's and periodiq's command lines call it).
        if type(other) in (LineHandler, logging.StreamHandler):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(log_level.upper())
    # What it says at each start is of its own plugins.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.getLogger("alembic.runtime.migration").addFilter(_is_news)
    structlog.configure(
        processors=list(_PROCESSORS),
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def configure_program(log_format: str, log_level: str) -> None:
    """Do as `configure` for a program that is ours alone.

    What is printed, warnings and what nobody caught become lines too.
    """
    configure(log_format, log_level)
    sys.stdout = _printed("stdout", sys.stdout, logging.INFO)
    sys.stderr = _printed("stderr", sys.stderr, logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda thrown: _uncaught(
        thrown.exc_type, thrown.exc_value, thrown.exc_traceback, thread=thrown.thread.name if thrown.thread else "?"
    )


def restore_streams() -> None:
    """Undo what `configure_program` does beyond `configure`: somebody else's program goes on in this process."""
    sys.stdout, sys.stderr = _itself(sys.stdout), _itself(sys.stderr)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__


def finish_lines() -> None:
    """Say what was printed without the end of its line, for a process that ends without Python's own finish."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintedLines):
            stream.finish()


def is_program_configured() -> bool:
    """Return whether what this process prints becomes log lines."""
    return isinstance(sys.stderr, PrintedLines)


def _printed(name: str, stream: TextIO, level: int) -> TextIO:
    """Return a stream that makes log lines of what is written to it."""
    lines = PrintedLines(_itself(stream), lambda line: logging.getLogger(name).log(level, "%s", line))
    # At the exit of a multiprocessing child too, as Dramatiq's workers are.
    Finalize(None, lines.finish, exitpriority=2)
    return cast(TextIO, lines)


def _itself(stream: TextIO) -> TextIO:
    """Return the stream below one that makes log lines: a second program in this process writes there too."""
    return stream.original if isinstance(stream, PrintedLines) else stream


def _is_news(record: logging.LogRecord) -> bool:
    return not as_text(record.msg).startswith(_NO_NEWS)


def _uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, **where: str
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        sys.__excepthook__(kind, error or kind(), trace)
        return
    error = BaseException.with_traceback(kind() if error is None else error, trace)
    get_logger("nomad_actors").critical("nobody caught an exception", exc_info=error, **where)


def get_logger(module: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines say `module`; it works before `configure`, as a stdlib logger does."""
    logger = structlog.wrap_logger(
        logging.getLogger(module), processors=list(_PROCESSORS), wrapper_class=structlog.stdlib.BoundLogger
    )
    return cast(structlog.stdlib.BoundLogger, logger)


def write_lines(text: str) -> None:
    """Write finished lines where the log goes, between the lines of other threads; raises nothing."""
    handler = next((h for h in logging.getLogger().handlers if isinstance(h, LineHandler)), None)
    if handler is None:
        handler = LineHandler()
    handler.acquire()
    try:
        handler.stream.write(text)
        handler.flush()
    except (OSError, ValueError):
        # The other end of the pipe is gone, or the stream is closed: there is nowhere left to say so.
        pass
    finally:
        handler.release()


def format_time(seconds: float) -> str:
    """Return a moment (seconds since the epoch) as a log line says it: UTC, to the millisecond."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def format_line(log_format: str, fields: Mapping[str, Any]) -> str:
    """Return `fields`, which are plain data (`hide_secrets`), as one line in `log_format`, its end included."""
    if log_format == "json":
        return json.dumps(fields, allow_nan=False) + "\n"
    seen: set[str] = set()
    names = (unused(_UNFIT_FOR_NAME.sub("_", name) or "_", seen) for name in fields)
    return " ".join(f"{name}={logfmt_value(value)}" for name, value in zip(names, fields.values(), strict=True)) + "\n"


def logfmt_value(value: Any) -> str:
    """Return a value as logfmt writes it: bare when nothing in it could be misread, else quoted."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        value = json.dumps(value)
    text = as_text(value)
    if _BARE.fullmatch(text):
        return text
    return _UNFIT_FOR_LINE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


class _LineFormatter(logging.Formatter):
    """Forms a line of any record, one that structlog handed over or one of stdlib's own."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._log_format = log_format

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, without its end, whatever its values raise: a logging call ends no thread."""
        try:
            return self._form(record)
        except BaseException as error:
            if came_from_outside(error):
                raise
            fields = {"timestamp": format_time(record.created), "level": record.levelname.lower()}
            fields |= {"module": record.name, "event": _event(record), "unprintable": describe_error(error)}
            return self._line(fields).rstrip("\n")

    def _form(self, record: logging.LogRecord) -> str:
        own = (format_time(record.created), record.levelname.lower(), record.name, _event(record))
        fields: dict[str, Any] = dict(zip(_OWN_FIELDS, own, strict=True))
        if record.exc_info:
            fields["exception"] = _traceback(record)
        if record.stack_info:
            fields["stack"] = record.stack_info
        passed, taken = getattr(record, _FIELDS, {}), set(fields)
        fields |= {unused(as_text(name), taken): value for name, value in passed.items()}
        for name, value in _bound().items():
            if name not in passed:
                fields[unused(as_text(name), taken)] = value
        return self._line(fields).rstrip("\n")

    def _line(self, fields: Mapping[str, Any]) -> str:
        line = ""
        for most in TEXT_CHARACTERS:
            kept = fields.items() if most > TEXT_CHARACTERS[-1] else islice(fields.items(), _LEAST_FIELDS)
            seen: set[str] = set()
            shown = {unused(shortened(name, most), seen): _shown(name, value, most) for name, value in kept}
            line = format_line(self._log_format, shown)
            if len(line.encode("utf-8", "backslashreplace")) <= LINE_BYTES:
                break
        return line


def _event(record: logging.LogRecord) -> str:
    """Return a record's message; where its arguments cannot be put into it, what can be told of both."""
    try:
        return as_text(record.getMessage())
    except BaseException as error:
        if came_from_outside(error):
            raise
        arguments = record.args if type(record.args) is tuple else (record.args,)
        listed = ", ".join(safe_repr(each, TEXT_CHARACTERS[0]) for each in arguments)
        return as_text(f"{safe_str(record.msg)} ({listed}): {describe_error(error)}")


def _traceback(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else as_text(safe_traceback(error).rstrip("\n"))


def _shown(name: str, value: Any, most: int) -> Any:
    """Return a field's value without secrets, and not much longer than `most` characters."""
    if name in ("timestamp", "level"):
        return value
    hidden = hide_secrets(name, value, most=most)
    if isinstance(hidden, dict | list) and len(text := json.dumps(hidden)) > most:
        return shortened(text, most)
    return hidden


def _bound() -> dict[str, Any]:
    """Return what every line of this thread says now: what was bound through structlog, and the job."""
    facts = JOB_FACTS.get()
    return {**structlog.contextvars.get_contextvars(), **(facts() if facts else {})}


def _hand_over(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn structlog's event into the arguments of a stdlib logging call."""
    event, arguments = fields.pop("event", ""), fields.pop("positional_args", ())
    passed = {name: fields.pop(name) for name in ("exc_info", "stack_info", "stacklevel") if name in fields}
    error = passed.get("exc_info")
    if issubclass(type(error), BaseException):
        # As `logging` would, but without the exception's own code.
        passed["exc_info"] = (type(error), error, traceback_of(cast(BaseException, error)))
    return (event, *arguments), {"extra": {_FIELDS: dict(fields)}, **passed}


_PROCESSORS = (
    structlog.stdlib.filter_by_level,
    _hand_over,
)
