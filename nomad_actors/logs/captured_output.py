"""What a program prints, line by line, for its log: a plain `print()` must not break into another line."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TextIO

#: Longer than this without a line's end, and what was printed so far is a line, up to its last blank.
LINE_CHARACTERS = 8_000
#: A private key in PEM has fewer lines.
_KEY_LINES = 200


class PrintedLines(io.TextIOBase):
    """Stands in for standard output or error: each finished line is given to `say`, by the thread that printed it.

    What `say` itself prints, an error of logging, goes to the `original`.
    """

    def __init__(self, original: TextIO, say: Callable[[str], None]) -> None:
        self.original = original
        self._say = say
        self._of_thread = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The original's."""
        return self.original.encoding or "utf-8"

    @property
    def buffer(self) -> Any:
        """A binary stream whose bytes are printed as text."""
        return _PrintedBytes(self)

    def fileno(self) -> int:
        """Return the original's descriptor."""
        return self.original.fileno()

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def write(self, text: str, /) -> int:
        """Take text; say what lines it finishes."""
        mine = self._of_thread
        if getattr(mine, "saying", False):
            return self.original.write(text)
        *lines, rest = (getattr(mine, "begun", "") + text).split("\n")
        if len(rest) > LINE_CHARACTERS:
            # Not within a word: half a secret would not be recognised.
            end = rest.rfind(" ", LINE_CHARACTERS // 2) + 1 or len(rest)
            lines, rest = [*lines, rest[:end]], rest[end:]
        mine.begun = rest
        self._say_each(lines)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line that is not finished yet may go on."""

    def finish(self) -> None:
        """Say what this thread has begun and not finished."""
        begun, self._of_thread.begun = getattr(self._of_thread, "begun", ""), ""
        self._say_each([begun])

    def _say_each(self, lines: list[str]) -> None:
        mine = self._of_thread
        mine.saying = True
        try:
            for line in lines:
                if line.strip() and not self._is_within_key(line):
                    self._say(line.rstrip("\r"))
        finally:
            mine.saying = False

    def _is_within_key(self, line: str) -> bool:
        """Return whether a line is of a PEM block that began on an earlier one: by itself it looks like nothing."""
        mine = self._of_thread
        left = getattr(mine, "key_lines", 0)
        begins = line.rfind("-----BEGIN ")
        if line.rfind("-----END") > begins:
            mine.key_lines = 0
        else:
            mine.key_lines = _KEY_LINES if begins >= 0 else max(0, left - 1)
        return left > 0 and begins < 0


class _PrintedBytes(io.BufferedIOBase):
    """The binary side of a stream that makes lines."""

    def __init__(self, lines: PrintedLines) -> None:
        self._lines = lines

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._lines.fileno()

    def write(self, data: Any, /) -> int:
        self._lines.write(bytes(data).decode(errors="backslashreplace"))
        return len(data)
