"""What commands print: tables and lines for people, JSON for programs, times as an operator reads them."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput
from ..logs.json_text import MAX_INDENTED_LEVELS, levels, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
#: Wide enough that nothing is cut or wrapped where no terminal is.
_PIPED_WIDTH = 10_000
#: Of the last column, on a terminal that has no room.
_LEAST_WIDTH = 12
#: A last column that has less room than this shows what does not fit on a line of its own, below its row.
_ROOMY_WIDTH = 40
_INDENT = "  "

NONE = "-"


def console(*, stderr: bool = False) -> Console:
    """Return where to print; plain and unwrapped when that is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False)


def table(headings: Sequence[str], rows: Iterable[Sequence[Text | str]], *, right: Collection[str] = ()) -> Text:
    """Return rows in columns, those of the headings in `right` aligned there.

    What is too wide for the terminal is cut in the last column only, and only text: everything else is there to be
    copied, and a part of a number is another number. A text that would lose most of itself is shown below its row.
    Where all that is not enough, each row becomes a block of lines.
    """
    from rich.cells import cell_len
    from rich.text import Text

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
    made = Text("\n").join(_line(row, rest) for row in cells)
    made.no_wrap = True
    return made


def _line(row: Sequence[Text], rest: int) -> Text:
    """Return a row whose last cell has room for `rest` characters; where that is little, in two lines."""
    from rich.text import Text

    *cells, last = row
    if rest < _ROOMY_WIDTH and last.cell_len > rest:
        last.truncate(console().width - len(_INDENT), overflow="ellipsis")
        return Text("\n").join([Text(" ").join(cells), Text(_INDENT) + last])
    last.truncate(rest, overflow="ellipsis")
    return Text(" ").join(row)


def _blocks(cells: Sequence[Sequence[Text]], width: int) -> Text:
    """Return each row as its first cell and, indented below it, the others with their headings."""
    from rich.text import Text

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
    made = Text("\n").join(lines)
    made.no_wrap, made.overflow = False, "fold"
    return made


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print a value as JSON, nothing else; on one line with `lines`, and what is nested deeply."""
    on_one_line = lines or levels(value, MAX_INDENTED_LEVELS) == MAX_INDENTED_LEVELS
    # In ASCII: what would steer a terminal is written out here too.
    text = one_line(value, ascii_only=True) if on_one_line else json.dumps(value, indent=2, default=str)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """Return a text as one line that a terminal may be given.

    Errors, reasons and names come from whoever may add a job: what would clear the screen, forge a line or turn the
    direction of reading is written out, as \\x1b or \\n.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def styled(text: str, style: str = "") -> Text:
    """Return a text, made printable, in a style; nothing in it is read as markup."""
    from rich.text import Text

    return Text(printable(text), style=style)


def say(text: str, *, err: bool = False) -> None:
    """Print one line."""
    typer.echo(printable(text), err=err)


def print_text(*lines: Text | str) -> None:
    """Print lines as they are: nothing in them is read as markup."""
    out = console()
    for line in lines:
        # Not wrapped: a command or a traceback is there to be copied.
        out.print(styled(line) if isinstance(line, str) else line, soft_wrap=True)


def duration(ms: float | None) -> str:
    """Return how long something took, in the two largest units that matter."""
    if ms is None:
        return NONE
    if ms < 1_000:
        return f"{ms:.0f}ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    for size, unit, below in ((86_400, "d", "h"), (3_600, "h", "m"), (60, "m", "s")):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            rest //= {"d": 3_600, "h": 60, "m": 1}[unit]
            return f"{whole}{unit} {rest}{below}" if rest else f"{whole}{unit}"
    raise AssertionError("unreachable")


def ago(at_ms: float | None, now_ms: float) -> str:
    """Return how long ago an instant was, or how far off it is."""
    if at_ms is None:
        return NONE
    return f"{duration(now_ms - at_ms)} ago" if at_ms <= now_ms else f"in {duration(at_ms - now_ms)}"


def moment(ms: float | None) -> str:
    """Return an instant as a person reads it, in UTC as the logs have it."""
    if ms is None:
        return NONE
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def instant_ms(iso: str | None) -> float | None:
    """Return an instant told in ISO 8601, in ms."""
    return None if iso is None else datetime.fromisoformat(iso).timestamp() * 1000


def now_ms() -> float:
    """Return this host's time in ms."""
    return time.time() * 1000


def parse_duration(text: str, option: str) -> int:
    """Return `30m`, `2h`, `1d`, `45s` or `500ms` in ms.

    Raises `BadInput` naming the option.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        accepted = "a number with ms, s, m, h or d, as 30m or 2h"
        raise BadInput(f"{option} {text!r} is unusable (accepted: {accepted})", accepted=[accepted])
    return int(match[1]) * _UNIT_MS[match[2]]
