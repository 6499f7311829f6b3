"""Whether the history is complete: holes, and what ESI will soon no longer show although nobody has read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from .. import thresholds
from ..clock import Clock
from ..findings import Finding, Severity
from ..jobs.historical_data import SCOPES
from ..logs.counted import counted
from ..metrics.exposition import gauge
from ..store.database import Database
from ..store.history.completeness import CAUSES, RETENTION_MS
from ..store.history.fleet import AtRisk, count_fillable, count_holes, read_at_risk
from .host import current_database
from .installation import Installation
from .stale_routes import time_text

_DAY_MS = 86_400_000


def completeness(installation: Installation) -> Iterator[Finding]:
    """Report data types of characters that ESI will soon not show, and holes that it can still fill."""
    with current_database(installation) as database:
        if database is None:
            return
        for each in at_risk(database, installation.clock):
            if each.characters:
                yield _at_risk(each, installation.clock.now_ms())
        if found := count_fillable(database, installation.clock.now_ms()):
            cause = f"the history of {counted(found, 'character')} has holes that ESI can still fill"
            fix = "nothing to do at first: the daily collection tries; which, and why it cannot: nomad history holes"
            yield Finding("history holes", Severity.WARNING, cause, fix)


def at_risk(database: Database, clock: Clock) -> list[AtRisk]:
    """Return by data type what ESI will soon not show.

    Raises `Unavailable`.
    """
    return read_at_risk(database, clock.now_ms(), thresholds.HISTORY.at_risk_share, SCOPES)


def history_families(database: Database, clock: Clock) -> Iterable[Metric]:
    """Return the metrics of the history's completeness.

    Raises `Unavailable`.
    """
    return families(count_holes(database), at_risk(database, clock))


def families(holes: Mapping[tuple[str, str], int], found: Iterable[AtRisk]) -> Iterable[Metric]:
    """Return the metrics from the number of holes by type and cause, and from what is at risk."""
    counts = gauge("nomad_history_holes", "Spans in which rows of the history may be missing.", "data_type", "cause")
    for data_type in (each for each, retention_ms in RETENTION_MS.items() if retention_ms is not None):
        for cause in CAUSES:
            counts.add_metric([data_type, cause], holes.get((data_type, cause), 0))
    risky = gauge(
        "nomad_history_at_risk_characters",
        "Characters whose history was last read completely so long ago that ESI will soon not show what is missing.",
        "data_type",
    )
    oldest = gauge(
        "nomad_history_oldest_complete_timestamp_seconds",
        "Up to when the history of the character that is furthest behind is complete; missing without characters.",
        "data_type",
    )
    for each in found:
        risky.add_metric([each.data_type], each.characters)
        if each.oldest_until_ms is not None:
            oldest.add_metric([each.data_type], each.oldest_until_ms / 1000)
    return counts, risky, oldest


def _at_risk(found: AtRisk, now_ms: int) -> Finding:
    retention_ms = RETENTION_MS[found.data_type] or 0
    lost_ms = (found.oldest_until_ms or 0) + retention_ms
    cause = (
        f"{found.data_type} of {counted(found.characters, 'character')} ({_names(found)}) was not read completely for "
        f"most of the {retention_ms // _DAY_MS} days that ESI shows; {_loss(lost_ms, now_ms)}"
    )
    see = f"nomad history {found.first[0][0]}" if found.first else "nomad history holes"
    fix = (
        f"see: {see}; see why: nomad jobs historical-data --status failed; correct the cause, then: "
        "nomad schedules run historical-data-collection"
    )
    return Finding(f"history {found.data_type}", Severity.WARNING, cause, fix, subject=found.data_type)


def _names(found: AtRisk) -> str:
    named = [f"{name} {character_id}" for character_id, name in found.first]
    more = found.characters - len(named)
    return ", ".join([*named, f"and {more:,} more"] if more else named)


def _loss(lost_ms: int, now_ms: int) -> str:
    if lost_ms <= now_ms:
        return f"ESI has dropped rows since {time_text(lost_ms)}"
    return f"the first rows are lost in {(lost_ms - now_ms) / _DAY_MS:.1f} days"
