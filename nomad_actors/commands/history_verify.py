"""`nomad history verify`: checks the stored history, and exits with 1 if it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..clock import SystemClock
from ..errors import BadInput, ExitCode
from ..logs.counted import counted
from .audited import existing_database
from .options import Json
from .progress import rows_progress
from .report import moment, print_json, print_line, print_text, styled
from .session import settings

if TYPE_CHECKING:
    from rich.text import Text

    from ..store.verification import Problem

#: How many problems of one kind of one character's data type are shown; the others are counted.
_SHOWN = 10


def verify(
    character_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Characters; without any, all.", show_default=False)
    ] = None,
    data_types: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", metavar="DATATYPE", help="Only this data type, as wallet_journal. Repeatable."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A marked hole counts as a fault too.")] = False,
    json: Json = False,
) -> None:
    """Check balances, links between journal and transactions, states against events, and what is claimed complete.

    The exit code is 1 if there is a fault. Holes that the history itself marks are listed, but are no faults.
    """
    from ..jobs.historical_data import SCOPES
    from ..store.history.completeness import DATA_TYPES
    from ..store.verification import Verifier

    for each in data_types or ():
        if each not in DATA_TYPES:
            raise BadInput(f"--type {each!r} does not exist (allowed: {', '.join(DATA_TYPES)})", accepted=DATA_TYPES)
    with existing_database(settings(), wait_ms=None) as database, rows_progress("checked") as report:
        read = 0

        def on_rows(rows: int) -> None:
            nonlocal read
            read += rows
            report(read, total)

        verifier = Verifier(
            database,
            SystemClock().now_ms(),
            character_ids=character_ids or (),
            data_types=data_types or (),
            scopes=SCOPES,
            on_rows=on_rows,
        )
        total = verifier.count()
        counts = Counter[tuple[Any, ...]]()
        shown = list(_first(verifier.problems(), counts))
    wrong = sum(count for (_, _, _, is_fault), count in counts.items() if is_fault or strict)
    summary = {"characters": len(verifier.characters), "rows": read, "faults": wrong, "problems": counts.total()}
    if json:
        print_json({**summary, "shown": [_as_json(each) for each in shown]})
    else:
        _print(shown, counts)
        print_line(_summary(summary))
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.OK)


def _key(problem: Problem) -> tuple[Any, ...]:
    return problem.character_id, problem.data_type, problem.kind, problem.is_fault


def _first(problems: Iterable[Problem], counts: Counter[tuple[Any, ...]]) -> Iterator[Problem]:
    """Yield the first problems of each kind, and count all."""
    for problem in problems:
        counts[_key(problem)] += 1
        if counts[_key(problem)] <= _SHOWN:
            yield problem


def _print(shown: list[Problem], counts: Counter[tuple[Any, ...]]) -> None:
    printed = Counter[tuple[Any, ...]]()
    for each in shown:
        print_text(*_lines(each))
        printed[_key(each)] += 1
        more = counts[_key(each)] - _SHOWN
        if printed[_key(each)] == _SHOWN and more > 0:
            print_line(f"        {more:,} more like this of character {each.character_id}")


def _lines(problem: Problem) -> list[Text | str]:
    line = styled(f"{'FAULT' if problem.is_fault else 'missing':<7} ", "red bold" if problem.is_fault else "yellow")
    time = "" if problem.from_ms is None else f" {_span(problem)}"
    line.append_text(styled(f"{problem.character_id} {problem.data_type}{time}: {problem.kind}: {problem.cause}"))
    return [line, styled(f"        → {problem.remedy}", "bold")]


def _span(problem: Problem) -> str:
    if problem.from_ms == problem.until_ms:
        return moment(problem.from_ms)
    return f"{moment(problem.from_ms)} to {moment(problem.until_ms)}"


def _summary(summary: dict[str, int]) -> str:
    checked = f"{counted(summary['characters'], 'character')}, {summary['rows']:,} rows checked"
    marked = summary["problems"] - summary["faults"]
    holes = f", {marked:,} marked as missing" if marked else ""
    return f"{checked}: {counted(summary['faults'], 'fault') if summary['faults'] else 'no faults'}{holes}."


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind.value.replace(" ", "_"),
        "isFault": problem.is_fault,
        "characterId": problem.character_id,
        "dataType": problem.data_type,
        "from": problem.from_ms,
        "until": problem.until_ms,
        "ids": [*problem.ids],
        "cause": problem.cause,
        "remedy": problem.remedy,
    }
