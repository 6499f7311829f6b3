"""What a program prints, line by line, for its log: a plain `print()` must not break into another line."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TextIO

#: Longer than this without a line's end, and what was printed so far is a line.
LINE_CHARACTERS = 8_000


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
        """The original's: whoever writes bytes knows what he does."""
        return self.original.buffer

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
            lines, rest = [*lines, rest], ""
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
                if line.strip():
                    self._say(line.rstrip("\r"))
        finally:
            mine.saying = False
