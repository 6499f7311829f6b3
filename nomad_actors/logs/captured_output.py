"""Turn what a program prints into log lines, so that a plain `print()` cannot break into another line."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TextIO

#: Longer output without a newline is logged as a line, up to its last space.
LINE_CHARACTERS = 8_000
#: No private key in PEM has more lines.
_KEY_LINES = 200


class PrintedLines(io.TextIOBase):
    """A replacement for standard output or error that passes each finished line to `log`, in the printing thread.

    What `log` itself prints, such as an error of logging, goes to `original`.
    """

    def __init__(self, original: TextIO, log: Callable[[str], None]) -> None:
        self.original = original
        self._log = log
        self._local = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.original.encoding or "utf-8"

    @property
    def buffer(self) -> Any:
        """A binary stream that decodes its bytes and writes them here."""
        return _PrintedBytes(self)

    def fileno(self) -> int:
        return self.original.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        local = self._local
        if getattr(local, "is_logging", False):
            return self.original.write(text)
        *lines, rest = (getattr(local, "unfinished", "") + text).split("\n")
        if len(rest) > LINE_CHARACTERS:
            # Never cut within a word: half a secret would not be recognised.
            end = rest.rfind(" ", LINE_CHARACTERS // 2) + 1 or len(rest)
            lines, rest = [*lines, rest[:end]], rest[end:]
        local.unfinished = rest
        self._log_lines(lines)
        return len(text)

    def flush(self) -> None:
        """Do nothing: an unfinished line may still continue."""

    def finish(self) -> None:
        """Log this thread's unfinished line."""
        unfinished, self._local.unfinished = getattr(self._local, "unfinished", ""), ""
        self._log_lines([unfinished])

    def _log_lines(self, lines: list[str]) -> None:
        local = self._local
        local.is_logging = True
        try:
            for line in lines:
                if line.strip() and not self._is_within_key(line):
                    self._log(line.rstrip("\r"))
        finally:
            local.is_logging = False

    def _is_within_key(self, line: str) -> bool:
        """Return True for a line inside a PEM block that began on an earlier line; alone it cannot be recognised."""
        local = self._local
        left = getattr(local, "key_lines", 0)
        begins = line.rfind("-----BEGIN ")
        if line.rfind("-----END") > begins:
            local.key_lines = 0
        else:
            local.key_lines = _KEY_LINES if begins >= 0 else max(0, left - 1)
        return left > 0 and begins < 0


class _PrintedBytes(io.BufferedIOBase):
    def __init__(self, lines: PrintedLines) -> None:
        self._lines = lines

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._lines.fileno()

    def write(self, data: Any, /) -> int:
        self._lines.write(bytes(data).decode(errors="backslashreplace"))
        return len(data)
