"""`nomad doctor`: what is wrong, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .exits import ExitCode
from .options import Json
from .report import console, print_json
from .session import opened, patient

if TYPE_CHECKING:
    from ..doctor import Report

_STYLES = {"ok": "green", "unknown": "cyan", "warning": "yellow", "problem": "red bold"}


def doctor(json: Json = False) -> None:
    """Check Redis, database, disk, schedulers, workers and queues; say of each problem what to do.

    Ends with 1 when there is a problem; a warning or what cannot be found out is none.
    """
    from ..doctor import examine

    with opened() as access:
        report = examine(patient(access))
    if json:
        print_json(report.as_json())
    else:
        _show(report)
    raise typer.Exit(ExitCode.OK if report.healthy else ExitCode.FAILED)


def _show(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column()
    for finding in report.findings:
        told = Text(finding.found)
        if finding.fix:
            told.append(f"\n→ {finding.fix}", style="bold")
        rows.add_row(Text(finding.status, style=_STYLES[finding.status]), finding.name, told)
    out = console()
    out.print(rows)
    count = {status: sum(f.status == status for f in report.findings) for status in ("problem", "warning", "unknown")}
    told = ", ".join(f"{number} {status}{'s' if number > 1 and status != 'unknown' else ''}" for status, number in count.items() if number)
    out.print(Text(told or "all is well"))
