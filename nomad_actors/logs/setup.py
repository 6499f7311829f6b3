"""Log lines in one format, logfmt or JSON: ours come through structlog, those of libraries through stdlib logging.

Every line has `timestamp`, `level`, `module` and `event`, then its own fields, then those of the job that its thread
runs. Secrets are hidden before a line is formatted (`redaction`), and no line exceeds the limit of log readers.
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

#: The attribute of a stdlib record that carries structlog's fields.
_FIELDS = "nomad_fields"
#: Docker's log driver splits a line at 16 KiB, and then neither part can be parsed.
LINE_BYTES = 16_000
#: Maximum characters of a text in a line; the next limit is used while the line is too long.
TEXT_CHARACTERS = (6_000, 1_500, 300, 50)
#: Fields that are kept if a line is still too long with the shortest texts.
_LEAST_FIELDS = 12
#: Alembic logs these each time it opens a database, even if nothing changes.
_ALEMBIC_NOISE = ("Context impl", "Will assume")
#: Reserved field names; a caller's field of such a name gets an underscore appended.
_OWN_FIELDS = ("timestamp", "level", "module", "event")
_BARE = re.compile(r'[^\x00-\x20\s"=\\\x7f-\xa0\u2028\u2029\ud800-\udfff]+')
_UNFIT_FOR_NAME = re.compile(r'[\x00-\x20\s="\\\x7f-\x9f\ud800-\udfff]+')
#: Some readers treat these as line ends, and JSON does not escape them.
_UNFIT_FOR_LINE = re.compile("[\x7f-\x9f\u2028\u2029]")


#: Returns the fields of the job that this thread (or coroutine) runs. Middleware sets it; it is called only when a line
#: is written, because most jobs write none.
JOB_FACTS: ContextVar[Callable[[], Mapping[str, Any]] | None] = ContextVar("nomad_job_facts", default=None)


class LineHandler(logging.StreamHandler[TextIO]):
    """The handler of the root logger that `configure` sets up."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Do nothing: standard error is where the line could not be written, and Python's report would quote it."""


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Write every log line of this process to `stream` in `log_format` ("logfmt" or "json").

    The default is the current standard error: Dramatiq's CLI replaces it with a pipe after the fork.
    """
    handler = LineHandler(stream or _original(sys.stderr))
    handler.setFormatter(_LineFormatter(log_format))
    root = logging.getLogger()
    for other in list(root.handlers):
        # Our earlier handler, and the one of `logging.basicConfig` (Dramatiq's and periodiq's command lines call it).
        if type(other) in (LineHandler, logging.StreamHandler):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(log_level.upper())
    # At each start it logs its own plugins.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.getLogger("alembic.runtime.migration").addFilter(_is_not_noise)
    structlog.configure(
        processors=list(_PROCESSORS),
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def configure_program(log_format: str, log_level: str) -> None:
    """As `configure`, and turn printed text, warnings and uncaught exceptions into log lines, for our own programs."""
    configure(log_format, log_level)
    sys.stdout = _captured("stdout", sys.stdout, logging.INFO)
    sys.stderr = _captured("stderr", sys.stderr, logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda thrown: _log_uncaught(
        thrown.exc_type, thrown.exc_value, thrown.exc_traceback, thread=thrown.thread.name if thrown.thread else "?"
    )


def restore_streams() -> None:
    """Undo what `configure_program` adds to `configure`: another program continues in this process."""
    sys.stdout, sys.stderr = _original(sys.stdout), _original(sys.stderr)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__


def finish_lines() -> None:
    """Log unfinished printed lines, for a process that ends without running Python's exit handlers."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintedLines):
            stream.finish()


def is_program_configured() -> bool:
    """Return whether this process turns printed output into log lines."""
    return isinstance(sys.stderr, PrintedLines)


def _captured(name: str, stream: TextIO, level: int) -> TextIO:
    lines = PrintedLines(_original(stream), lambda line: logging.getLogger(name).log(level, "%s", line))
    # `Finalize` also runs at the exit of multiprocessing children, such as Dramatiq's workers.
    Finalize(None, lines.finish, exitpriority=2)
    return cast(TextIO, lines)


def _original(stream: TextIO) -> TextIO:
    """Return the stream that a capturing stream replaced: a second program in this process writes there too."""
    return stream.original if isinstance(stream, PrintedLines) else stream


def _is_not_noise(record: logging.LogRecord) -> bool:
    return not as_text(record.msg).startswith(_ALEMBIC_NOISE)


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, **where: str
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        sys.__excepthook__(kind, error or kind(), trace)
        return
    error = BaseException.with_traceback(kind() if error is None else error, trace)
    get_logger("nomad_actors").critical("uncaught exception", exc_info=error, **where)


def get_logger(module: str) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines have this `module`; like a stdlib logger it works before `configure`."""
    logger = structlog.wrap_logger(
        logging.getLogger(module), processors=list(_PROCESSORS), wrapper_class=structlog.stdlib.BoundLogger
    )
    return cast(structlog.stdlib.BoundLogger, logger)


def write_lines(text: str) -> None:
    """Write complete lines to the log's stream without mixing them with other threads' lines; never raises."""
    handler = next((h for h in logging.getLogger().handlers if isinstance(h, LineHandler)), None)
    if handler is None:
        handler = LineHandler()
    handler.acquire()
    try:
        handler.stream.write(text)
        handler.flush()
    except (OSError, ValueError):
        # The reader of the pipe is gone, or the stream is closed: there is nowhere left to report it.
        pass
    finally:
        handler.release()


def format_time(seconds: float) -> str:
    """Return a time (seconds since the epoch) as log lines show it: UTC with milliseconds."""
    whole_seconds, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole_seconds))}.{milliseconds:03d}Z"


def format_line(log_format: str, fields: Mapping[str, Any]) -> str:
    """Return `fields`, which must be plain data (see `hide_secrets`), as one line with its newline."""
    if log_format == "json":
        return json.dumps(fields, allow_nan=False) + "\n"
    seen: set[str] = set()
    names = (unused(_UNFIT_FOR_NAME.sub("_", name) or "_", seen) for name in fields)
    return " ".join(f"{name}={logfmt_value(value)}" for name, value in zip(names, fields.values(), strict=True)) + "\n"


def logfmt_value(value: Any) -> str:
    """Return a value in logfmt: unquoted if it is unambiguous, else quoted."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        value = json.dumps(value)
    text = as_text(value)
    if _BARE.fullmatch(text):
        return text
    return _UNFIT_FOR_LINE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


class _LineFormatter(logging.Formatter):
    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._log_format = log_format

    def format(self, record: logging.LogRecord) -> str:
        try:
            return self._format(record)
        except BaseException as error:
            if came_from_outside(error):
                raise
            fields = {"timestamp": format_time(record.created), "level": record.levelname.lower()}
            fields |= {"module": record.name, "event": _event(record), "unprintable": describe_error(error)}
            return self._line(fields).rstrip("\n")

    def _format(self, record: logging.LogRecord) -> str:
        own = (format_time(record.created), record.levelname.lower(), record.name, _event(record))
        fields: dict[str, Any] = dict(zip(_OWN_FIELDS, own, strict=True))
        if record.exc_info:
            fields["exception"] = _traceback(record)
        if record.stack_info:
            fields["stack"] = record.stack_info
        passed, taken = getattr(record, _FIELDS, {}), set(fields)
        fields |= {unused(as_text(name), taken): value for name, value in passed.items()}
        for name, value in _thread_fields().items():
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
    """Return a record's message; if its arguments cannot be formatted, both separately with the error."""
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
    """Return a field's value without secrets, cut to about `most` characters."""
    if name in ("timestamp", "level"):
        return value
    hidden = hide_secrets(name, value, most=most)
    if isinstance(hidden, dict | list) and len(text := json.dumps(hidden)) > most:
        return shortened(text, most)
    return hidden


def _thread_fields() -> dict[str, Any]:
    """Return the fields of every line of this thread: those bound through structlog, and those of the job."""
    facts = JOB_FACTS.get()
    return {**structlog.contextvars.get_contextvars(), **(facts() if facts else {})}


def _to_stdlib(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn a structlog event into the arguments of a stdlib logging call."""
    event, arguments = fields.pop("event", ""), fields.pop("positional_args", ())
    passed = {name: fields.pop(name) for name in ("exc_info", "stack_info", "stacklevel") if name in fields}
    error = passed.get("exc_info")
    if issubclass(type(error), BaseException):
        # As `logging` does it, but without running the exception's own code.
        passed["exc_info"] = (type(error), error, traceback_of(cast(BaseException, error)))
    return (event, *arguments), {"extra": {_FIELDS: dict(fields)}, **passed}


_PROCESSORS = (structlog.stdlib.filter_by_level, _to_stdlib)
