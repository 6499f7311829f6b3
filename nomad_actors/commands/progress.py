"""A progress bar of rows on standard error, if that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .report import console

#: Called with the rows that are done and the number of all, if it is known.
Report = Callable[[int, int | None], object]


@contextlib.contextmanager
def rows_progress(what: str, *, shown: bool = True) -> Iterator[Report]:
    """Show a bar during a `with` block; yields what it must be called with."""
    out = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_shown = shown and sys.stderr.isatty()
    with Progress(*columns, console=out, disable=not is_shown, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def report(rows: int, total: int | None) -> None:
            # Rows may be added while the others are read.
            bar.update(task, completed=rows, total=None if total is None else max(rows, total))

        yield report
