"""`nomad history export`: writes rows of a character to a file or standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..clock import SystemClock
from ..errors import BadInput, NomadError
from ..logs.counted import counted
from .audited import existing_database
from .exits import Interrupted
from .options import CharacterId, Json
from .progress import rows_progress
from .report import moment, print_line, print_result
from .session import settings

if TYPE_CHECKING:
    from ..export import Export
    from ..export.exporter import Written
    from ..export.kinds import Range

#: The history is collected daily.
_DAY_MS = 86_400_000
_TYPES = "journal, transactions, orders, order-events, industry-jobs, industry-job-events, skills or skill-history."


def export(
    character_id: CharacterId,
    kind: Annotated[str, typer.Option("--type", "-t", metavar="TYPE", help=_TYPES)],
    format_: Annotated[str, typer.Option("--format", metavar="FORMAT", help="csv, ndjson or parquet.")],
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this day (00:00 UTC) or time on.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before this day (00:00 UTC) or time.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="- is standard output.")] = "-",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE, and what another export has begun.")] = False,
    json: Json = False,
) -> None:
    """Export rows of a character, exactly and by time.

    If it was killed, repeat the command: it continues. FILE is there only when it is complete.
    """
    from ..export.formats import FORMATS
    from ..export.kinds import KINDS

    _one_of(kind, KINDS, "--type")
    _one_of(format_, FORMATS, "--format")
    span = _span(from_, to)
    if kind == "skills" and (from_ or to):
        raise BadInput("skills are as last seen: leave out --from and --to, or export skill-history")
    with _opened(character_id, kind, format_, span) as prepared:
        # What is on standard output already lacks the rows of a hole that is filled meanwhile; a file begins anew.
        lack = _lack(prepared) if output == "-" else None
        if output == "-":
            _to_stdout(prepared, json=json)
        else:
            _to_file(prepared, Path(output), force=force, json=json)
        if lack := lack or _lack(prepared):
            _warn_of(lack, prepared)


def _one_of(value: str, allowed: Any, option: str) -> None:
    if value not in allowed:
        raise BadInput(f"{option} {value!r} does not exist (allowed: {', '.join(allowed)})", accepted=[*allowed])


def _span(from_: str | None, to: str | None) -> Range:
    from ..data.moments import limit_ms
    from ..export.kinds import Range

    span = Range(limit_ms(from_, "--from"), limit_ms(to, "--to"))
    if span.from_ms is not None and span.to_ms is not None and span.from_ms > span.to_ms:
        raise BadInput(f"--from {from_} is after --to {to}")
    return span


@contextlib.contextmanager
def _opened(character_id: int, kind: str, format_: str, span: Range) -> Iterator[Export]:
    from ..data import Data
    from ..export import Export
    from ..store import Store

    found, clock = settings(), SystemClock()
    with existing_database(found):
        pass
    store = Store(found.database_url, cipher=None, clock=clock, migrates=False)
    with contextlib.closing(store):
        yield Export(Data(store, clock), store.database, character_id, kind, format_, span)


def _to_stdout(export: Export, *, json: bool) -> None:
    is_terminal = sys.stdout.isatty()
    if json:
        raise BadInput("--json needs --output FILE: the rows are on standard output")
    if is_terminal and export.format == "parquet":
        raise BadInput("Parquet is not for a terminal (allowed: --output FILE, or a pipe)")
    with rows_progress(_what(export), shown=not is_terminal) as report:
        export.to_stream(sys.stdout.buffer, report)


def _to_file(export: Export, target: Path, *, force: bool, json: bool) -> None:
    rows = 0
    with rows_progress(_what(export)) as report:

        def counted_rows(done: int, total: int | None) -> None:
            nonlocal rows
            rows = done
            report(done, total)

        written = _resumable(target, lambda: rows, lambda: export.to_file(target, counted_rows, force=force))
    result = {"file": str(target), "rows": written.rows, "continued": written.continued}
    continued = f" ({written.continued:,} had been written before)" if written.continued else ""
    text = f"{target}: {written.rows:,} rows of {_what(export)}{continued}."
    print_result(result, text, json=json)


def _resumable(target: Path, rows: Callable[[], int], write: Callable[[], Written]) -> Written:
    """Call `write`; if it is interrupted or cannot write, say in the error what can be continued."""
    try:
        return write()
    except KeyboardInterrupt:
        part = f"{rows():,} rows are in {target}.part: repeat the command to continue, or delete it"
        raise Interrupted(f"interrupted: {part}") from None
    except OSError as error:
        rest = f"; {rows():,} rows are in {target}.part: repeat the command to continue" if rows() else ""
        raise NomadError(f"{error.filename or target} cannot be written: {error.strerror}{rest}") from error


def _what(export: Export) -> str:
    return f"{export.kind} of character {export.character_id}"


def _lack(export: Export) -> str | None:
    """Return why rows may be missing in the time that is exported."""
    from ..export.kinds import KINDS

    kind = KINDS[export.kind]
    found = export.data.completeness(export.character_id)[kind.data_type]
    if found.complete_since_ms is None or found.complete_until_ms is None:
        return "the history was never read completely"
    causes = []
    if count := sum(export.span.overlaps(hole.from_ms, hole.until_ms) for hole in found.holes):
        causes.append(f"{counted(count, 'hole')} in it")
    # Rows without a time are as last seen: there is nothing before them.
    if kind.listing is not None and (export.span.from_ms or 0) < found.complete_since_ms:
        causes.append(f"it is complete only since {moment(found.complete_since_ms)}")
    if _ends_after(export.span, found.complete_until_ms, SystemClock().now_ms()):
        causes.append(f"it is complete only until {moment(found.complete_until_ms)}")
    return ", and ".join(causes) or None


def _ends_after(span: Range, complete_until_ms: int, now_ms: int) -> bool:
    """Return whether a range ends in time that nobody has read; up to now it may lack what the next run reads."""
    if span.to_ms is not None and span.to_ms <= now_ms:
        return span.to_ms > complete_until_ms
    return now_ms > complete_until_ms + _DAY_MS


def _warn_of(lack: str, export: Export) -> None:
    print_line(f"nomad: warning: rows may be missing: {lack}; see: nomad history {export.character_id}", err=True)
