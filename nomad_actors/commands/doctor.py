"""`nomad doctor`: report what is wrong, and the command that fixes it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from ..errors import ExitCode
from .options import Json
from .report import console, print_json, printable, styled
from .session import opened

if TYPE_CHECKING:
    from ..health import Finding, Report

_STYLES = {"ok": "green", "unknown": "cyan", "warning": "yellow", "problem": "red bold"}


def doctor(json: Json = False) -> None:
    """Check Redis, database, disk, schedulers, workers and queues, and print a remedy for each problem.

    The exit code is 1 if there is a problem. Warnings and failed checks do not count as problems.
    """
    from ..health import Installation, examine

    with opened() as access:
        report = examine(Installation(access.settings, access.clock, access.broker, access.queues))
    if json:
        print_json(report.as_json())
    else:
        _show(report)
    raise typer.Exit(ExitCode.OK if report.healthy else ExitCode.FAILED)


def _show(report: Report) -> None:
    out = console()
    findings = list(_joined(report.findings))
    column = max(len(finding.name) for finding in findings)
    for finding in findings:
        width = max(30, out.width - column - 9)
        cause = textwrap.wrap(finding.cause, width, break_long_words=False, break_on_hyphens=False)
        lines = [*cause, *_remedy(finding)]
        line = styled(f"{finding.severity:<7}", _STYLES[finding.severity])
        line.append(printable(f" {finding.name:<{column}} {lines[0]}"), style="none")
        out.print(line, soft_wrap=True)
        # Commands are not wrapped, so that they can be copied.
        for more in lines[1:]:
            style = "bold" if more.startswith("→") else "none"
            out.print(styled(f"{'':<{column + 9}}{more}", style), soft_wrap=True)
    out.print(_summary(report))


def _joined(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings. Consecutive checks that could not be made for the same reason become one finding."""
    for (status, found), group in groupby(findings, key=lambda finding: (str(finding.severity), finding.cause)):
        first, *others = group
        if status != "unknown" or not others:
            yield from (first, *others)
        else:
            names = ", ".join(finding.name for finding in (first, *others))
            yield replace(first, name=f"{1 + len(others)} checks", cause=f"{found} ({names})")


def _remedy(finding: Finding) -> list[str]:
    lines = [f"{'  ' if number else '→ '}{line}" for number, line in enumerate(finding.remedy.splitlines())]
    return [*lines, f"  docs/runbook.md, {finding.runbook}"] if finding.runbook else lines


def _summary(report: Report) -> str:
    counts = Counter(str(finding.severity) for finding in report.findings)
    words = {"problem": "problems", "warning": "warnings", "unknown": "unknown"}
    parts = [f"{counts[name]} {name if counts[name] == 1 else many}" for name, many in words.items() if counts[name]]
    return ", ".join(parts) or "no problems found"
