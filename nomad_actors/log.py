"""Log lines in one form, logfmt or JSON, whoever writes them: we through structlog, libraries through stdlib.

Every line says `timestamp`, `level`, `module` and `event`, then its own fields, then those of the job that its thread
runs. Secrets are hidden before a line is formed: by the name of the field, by what looks like a token in any text.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

HIDDEN = "[hidden]"

#: Where structlog's fields travel on a stdlib record.
_FIELDS = "nomad_fields"
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:tokens?|secret|password|passwd|authorization|cookie|api_?key|dsn|code_verifier)$"
)
_SECRETS = (
    # A JWT: three base64url parts, of which the first begins with `{"`.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"(?i)(authorization[\\'\"]*\s*[:=]\s*[\\'\"]*(?:\w+\s+)?)[^\s\\'\",}]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(\b[a-z][\w+.-]*://[^\s/:@]*):[^\s/]+@", re.IGNORECASE), rf"\1:{HIDDEN}@"),
    (
        re.compile(
            r"(?i)\b((?:(?:refresh|access|id)[_ ]?token|client_?secret|code_verifier|password|passwd|api_?key)"
            r"[\\'\"]*\s*[:=]\s*[\\'\"]*)[^\s\\'\"&,;})\]]+"
        ),
        rf"\1{HIDDEN}",
    ),
    # A bare "token" may be anything; only a long value after it is taken for a secret.
    (re.compile(r"(?i)\b(token(?:[\\'\"]*\s*[:=]\s*[\\'\"]*|\s+))[\w.~+/=-]{16,}"), rf"\1{HIDDEN}"),
)
_BARE = re.compile(r'[^\x00-\x20"=\\\x7f-\xa0\u2028\u2029\ud800-\udfff]+')
_UNFIT_FOR_NAME = re.compile(r'[\s="]+')


#: Tells which job this thread (or coroutine) runs: set by middleware, asked only when a line is written, since most
#: jobs write none.
JOB_FACTS: ContextVar[Callable[[], Mapping[str, Any]] | None] = ContextVar("nomad_job_facts", default=None)


class LineHandler(logging.StreamHandler[TextIO]):
    """The one handler of the root logger that `configure` sets up."""


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Make every log line of this process come out on `stream` in `log_format` ("logfmt" or "json").

    The stream is standard error as it is now: Dramatiq's CLI puts a pipe in its place after it has forked.
    """
    handler = LineHandler(stream or sys.stderr)
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
    structlog.configure(
        processors=list(_PROCESSORS),
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


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


def redact(text: str) -> str:
    """Return `text` without what looks like a JWT, a token, an Authorization header or a password in a URL."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def hide_secrets(name: str, value: Any) -> Any:
    """Return a field's value without secrets, as far down as it goes; what JSON does not know becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): hide_secrets(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [hide_secrets("", item) for item in value]
    return redact(str(value))


def format_time(seconds: float) -> str:
    """Return a moment (seconds since the epoch) as a log line says it: UTC, to the millisecond."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def format_line(log_format: str, fields: Mapping[str, Any]) -> str:
    """Return `fields` as one line in `log_format`, its end included."""
    if log_format == "json":
        return json.dumps(fields) + "\n"
    pairs = (f"{_UNFIT_FOR_NAME.sub('_', name)}={logfmt_value(value)}" for name, value in fields.items())
    return " ".join(pairs) + "\n"


def logfmt_value(value: Any) -> str:
    """Return a value as logfmt writes it: bare when nothing in it could be misread, else quoted."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        value = json.dumps(value)
    text = str(value)
    if _BARE.fullmatch(text):
        return text
    return json.dumps(text.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False)


class _LineFormatter(logging.Formatter):
    """Forms a line of any record, one that structlog handed over or one of stdlib's own."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._log_format = log_format

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, without its end."""
        fields: dict[str, Any] = {
            "timestamp": format_time(record.created),
            "level": record.levelname.lower(),
            "module": record.name,
            "event": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        for name, value in _bound().items():
            fields.setdefault(name, value)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        hidden = {name: hide_secrets(name, value) for name, value in fields.items()}
        return format_line(self._log_format, hidden).rstrip("\n")


def _bound() -> dict[str, Any]:
    """Return what every line of this thread says now: what was bound through structlog, and the job."""
    facts = JOB_FACTS.get()
    return {**structlog.contextvars.get_contextvars(), **(facts() if facts else {})}


def _hand_over(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn structlog's event into the arguments of a stdlib logging call."""
    event = fields.pop("event", "")
    passed = {name: fields.pop(name) for name in ("exc_info", "stack_info", "stacklevel") if name in fields}
    return (event,), {"extra": {_FIELDS: dict(fields)}, **passed}


_PROCESSORS = (
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _hand_over,
)
