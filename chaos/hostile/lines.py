"""Checks every log line strictly: JSON by RFC 8259, or logfmt of bare and quoted values."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nomad_actors import logs

_KEY = r'[^\s="\x00-\x1f\x7f]+'
_BARE = r'[^\s="\x00-\x1f\x7f]*'
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\.)*"'
_PAIR = rf"{_KEY}=(?:{_QUOTED}|{_BARE})"
_LOGFMT = re.compile(rf"{_PAIR}(?: {_PAIR})*")
_FIELDS = ("timestamp", "level", "module", "event")


class StrictLines(io.TextIOBase):
    """A log stream; `wrong` lists the invalid lines and their problems."""

    def __init__(self, log_format: str) -> None:
        self.log_format = log_format
        self.count = 0
        self.wrong: list[str] = []

    def write(self, text: str) -> int:
        """Check the lines of a text."""
        if not text.endswith("\n"):
            self.wrong.append(f"a line without a line end: {text!r:.300}")
        for line in text.removesuffix("\n").split("\n"):
            self.count += 1
            reason = check_line(line, self.log_format)
            if reason is not None:
                self.wrong.append(f"{reason}: {line!r:.500}")
        return len(text)


def check_line(line: str, log_format: str) -> str | None:
    """Return the problem of a line, None if it is valid."""
    try:
        size = len(line.encode())
    except UnicodeEncodeError as error:
        return f"invalid UTF-8 ({error})"
    if size > logs.LINE_BYTES:
        return f"{size} bytes, more than {logs.LINE_BYTES}"
    if log_format == "json":
        return _json_problem(line)
    if not _LOGFMT.fullmatch(line):
        return "invalid logfmt"
    missing = [name for name in _FIELDS if not re.search(rf"(?:^| ){name}=", line)]
    return f"missing fields: {missing}" if missing else None


def _json_problem(line: str) -> str | None:
    try:
        fields = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return f"invalid JSON ({error})"
    missing = [name for name in _FIELDS if name not in fields]
    return f"missing fields: {missing}" if missing else None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields


@contextmanager
def logging_to(stream: StrictLines) -> Iterator[None]:
    """Send this process' log only to `stream` inside a `with` block, even if logging is disabled."""
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, logging.root.manager.disable
    root.handlers.clear()
    logging.disable(logging.NOTSET)
    try:
        logs.configure(stream.log_format, "info", stream)
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(disabled)
