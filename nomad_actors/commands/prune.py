"""`nomad history prune`: delete documents and history that are older than the settings keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..clock import SystemClock
from ..logs.counted import verb_for
from .audited import audited, existing_database
from .options import Json, Yes, confirm
from .report import moment, print_result, print_text, table
from .session import settings

if TYPE_CHECKING:
    from ..store.prune import Pruned

_UNSET = "Everything is kept for ever: neither NOMAD_KEEP_HISTORY_DAYS nor NOMAD_KEEP_DOCUMENTS_DAYS is set."


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows and delete nothing.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete what is older than NOMAD_KEEP_HISTORY_DAYS and NOMAD_KEEP_DOCUMENTS_DAYS allow; workers do so each night.

    In short transactions: it may be killed at any time and repeated.
    """
    from ..jobs.old_data import old_before
    from ..store.prune import count_old
    from ..store.prune import prune as delete_old

    found = settings()
    cutoffs = old_before(found, SystemClock().now_ms())
    with existing_database(found, wait_ms=None) as database:
        counts = count_old(database, cutoffs)
        rows = sum(each.rows for each in counts)
        result = {"dryRun": dry_run, "rows": rows, "tables": [_as_json(each) for each in counts]}
        if dry_run or not rows:
            print_result(result, _UNSET if not counts else _sentence(rows, dry_run), json=json)
            if counts and not json:
                print_text(_table(counts))
            return
        confirm(f"Delete {_rows(rows)} for ever?", yes=yes)
        with audited(found, "DELETE", "history", body={"rows": rows}):
            rows = delete_old(database, cutoffs)
    print_result({**result, "rows": rows}, _sentence(rows, dry_run), json=json)


def _sentence(rows: int, dry_run: bool) -> str:
    return f"Dry run: {_rows(rows)} would be deleted." if dry_run else f"{_rows(rows)} deleted."


def _rows(count: int) -> str:
    return f"{count:,} {verb_for(count, 'row', 'rows')}"


def _as_json(pruned: Pruned) -> dict[str, Any]:
    return {"table": pruned.table, "rows": pruned.rows, "oldestKeptMs": pruned.oldest_kept_ms}


def _table(counts: list[Pruned]) -> Any:
    rows = [
        [each.table, f"{each.rows:,}", "-" if each.oldest_kept_ms is None else moment(each.oldest_kept_ms)]
        for each in counts
    ]
    return table(["TABLE", "TO DELETE", "OLDEST KEPT"], rows, right={"TO DELETE"})
