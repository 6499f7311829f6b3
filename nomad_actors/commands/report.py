"""Output of the commands: tables and lines for people, JSON for programs, readable times."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ..errors import BadInput
from ..logs.json_text import MAX_INDENTED_LEVELS, levels, one_line

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
#: Two neighbouring units, each with its seconds.
_TWO_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s"))
#: The width without a terminal: nothing is cut or wrapped.
_PIPED_WIDTH = 10_000
#: The smallest width of the last column.
_LEAST_WIDTH = 12
#: If the last column has less room than this, a text that does not fit is printed on its own line below its row.
_ROOMY_WIDTH = 40
_INDENT = "  "

NONE = "-"


def console(*, stderr: bool = False) -> Console:
    """Return the console to print on. Without a terminal it prints no colours and does not wrap."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False)


def table(headings: Sequence[str], rows: Iterable[Sequence[Text | str]], *, right: Collection[str] = ()) -> Text:
    """Return a table; columns whose headings are in `right` are right-aligned.

    If the terminal is too narrow, only text in the last column is cut: the rest must be complete to be copied, and a
    cut number is another number. Text that would lose most of its length moves to a line below its row. If that is not
    enough, each row becomes a block of lines.
    """
    cells = [[Text(heading, style="bold") for heading in headings]]
    cells += [[cell.copy() if isinstance(cell, Text) else styled(cell) for cell in row] for row in rows]
    widths = [max(cell_len(row[i].plain) for row in cells) for i in range(len(headings))]
    rest = console().width - sum(widths[:-1]) - len(widths) + 1
    if rest < (widths[-1] if headings[-1] in right else min(widths[-1], _LEAST_WIDTH)):
        return _blocks(cells, console().width)
    for row in cells:
        for cell, width, heading in zip(row[:-1], widths, headings, strict=False):
            cell.align("right" if heading in right else "left", width)
        if headings[-1] in right:
            row[-1].align("right", widths[-1])
    table_text = Text("\n").join(_line(row, rest) for row in cells)
    table_text.no_wrap = True
    return table_text


def _line(row: Sequence[Text], rest: int) -> Text:
    """Return a row whose last cell has `rest` characters; if that is too few, return two lines."""
    *cells, last = row
    if rest < _ROOMY_WIDTH and last.cell_len > rest:
        last.truncate(console().width - len(_INDENT), overflow="ellipsis")
        return Text("\n").join([Text(" ").join(cells), Text(_INDENT) + last])
    last.truncate(rest, overflow="ellipsis")
    return Text(" ").join(row)


def _blocks(cells: Sequence[Sequence[Text]], width: int) -> Text:
    """Return each row as its first cell, with the other cells and their headings below it."""
    headings, *rows = cells
    lines: list[Text] = []
    for row in rows:
        lines.append(row[0])
        line = Text()
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            part = Text(" ").join([Text(heading.plain.lower(), style="dim"), cell])
            if line and line.cell_len + part.cell_len + 2 > width:
                lines.append(line)
                line = Text()
            line = Text("  ").join([line, part])
        lines.append(line)
    block_text = Text("\n").join(lines)
    block_text.no_wrap, block_text.overflow = False, "fold"
    return block_text


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print a value as JSON; on one line if `lines` is set or the value is deeply nested."""
    on_one_line = lines or levels(value, MAX_INDENTED_LEVELS) == MAX_INDENTED_LEVELS
    # In ASCII, so that control characters do not reach the terminal.
    text = one_line(value, ascii_only=True) if on_one_line else json.dumps(value, indent=2, default=str)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """Return a text as one line that is safe to print on a terminal.

    Anybody who may add a job chooses errors, reasons and names. Characters that clear the screen, start a new line or
    reverse the text direction are escaped, as \\x1b or \\n.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def styled(text: str, style: str = "") -> Text:
    """Return a text, made printable, in a style. Markup in the text is not interpreted."""
    return Text(printable(text), style=style)


def print_line(text: str, *, err: bool = False) -> None:
    typer.echo(printable(text), err=err)


def print_result(result: Any, text: str, *, json: bool, lines: bool = False) -> None:
    """Print what a command did: as JSON, or in one line."""
    print_json(result, lines=lines) if json else print_line(text)


def print_text(*lines: Text | str) -> None:
    """Print lines without interpreting markup in them."""
    out = console()
    for line in lines:
        # Not wrapped, so that commands and tracebacks can be copied.
        out.print(styled(line) if isinstance(line, str) else line, soft_wrap=True)


def duration(ms: float | None) -> str:
    """Return a duration as text, in its two largest units."""
    if ms is None:
        return NONE
    if ms < 1_000:
        return f"{ms:.0f}ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    size, unit, smaller, below = next(units for units in _TWO_UNITS if seconds >= units[0])
    count, rest = divmod(int(seconds), size)
    return f"{count}{unit} {rest // smaller}{below}" if rest >= smaller else f"{count}{unit}"


def ago(at_ms: float | None, now_ms: float) -> str:
    """Return how long ago an instant was (`5m ago`), or when it will be (`in 5m`)."""
    if at_ms is None:
        return NONE
    return f"{duration(now_ms - at_ms)} ago" if at_ms <= now_ms else f"in {duration(at_ms - now_ms)}"


def moment(ms: float | None) -> str:
    """Return an instant as readable text, in UTC like the logs."""
    return NONE if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def now_ms() -> float:
    """Return this host's time in ms since the epoch."""
    return time.time() * 1000


def parse_duration(text: str, option: str) -> int:
    """Return a duration such as `30m`, `2h`, `1d`, `45s` or `500ms` in ms; raises `BadInput` that names the option."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        allowed = "a number with ms, s, m, h or d, such as 30m or 2h"
        raise BadInput(f"{option} {text!r} is invalid (allowed: {allowed})", accepted=[allowed])
    return int(match[1]) * _UNIT_MS[match[2]]
