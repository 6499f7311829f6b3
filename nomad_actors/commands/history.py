"""`nomad history`: how complete the collected history is, and what to do where it is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from ..clock import SystemClock
from .audited import existing_database
from .history_export import export
from .history_verify import verify
from .options import NEGATIVE_IDS, CharacterId, Json, Limit
from .prune import prune
from .report import ago, console, duration, moment, print_json, print_line, print_text, styled, table
from .session import settings

if TYPE_CHECKING:
    from rich.text import Text

    from ..store.history.completeness import Completeness, Hole
    from ..store.verification.characters import Checked
    from ..store.verification.holes import FoundHole


class _ShowsCharacters(TyperGroup):
    """Reads `nomad history 5` as `nomad history show 5`."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        words = [each for each in arguments if each != "--json"]
        if words and re.fullmatch(r"-?[0-9]+", words[0]):
            arguments = ["show", *arguments]
        return super().parse_args(context, arguments)


group = typer.Typer(
    cls=_ShowsCharacters,
    help="Show how complete the collected history is (nomad history ID); export, verify and prune it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
group.command("export", context_settings=NEGATIVE_IDS)(export)
group.command("verify", context_settings=NEGATIVE_IDS)(verify)
group.command("prune")(prune)


@group.command(context_settings=NEGATIVE_IDS)
def show(character_id: CharacterId, json: Json = False) -> None:
    """Show since when each data type of a character is complete, what is missing, and what to do."""
    from ..store.history.completeness import completeness
    from ..store.history.ranges import Range
    from ..store.verification.characters import find_characters

    now_ms = SystemClock().now_ms()
    with existing_database(settings(), wait_ms=None) as database:
        (character,) = find_characters(database, [character_id])
        with database.read() as connection:
            found = completeness(connection, character_id, now_ms)
            rows = {each: Range().count(connection, character_id, each) for each in found}
    if json:
        print_json(_as_json(character, found, rows, now_ms))
        return
    headings = ("DATA TYPE", "COMPLETE SINCE", "COMPLETE UNTIL", "LAST COMPLETE READ", "ROWS", "HOLES")
    print_text(styled(f"{character.name} {character.character_id}", "bold"))
    lines = (_row(each, rows[name], now_ms) for name, each in found.items())
    console().print(table(headings, lines, right=("ROWS", "HOLES")))
    for each in found.values():
        print_text(*_missing(each, character, now_ms))
    for line in _commands(found, character, now_ms):
        print_line(f"→ {line}")


def _row(each: Completeness, rows: int, now_ms: int) -> list[Text | str]:
    return [
        each.data_type,
        styled("never", "yellow") if each.complete_since_ms is None else moment(each.complete_since_ms),
        moment(each.complete_until_ms),
        ago(each.complete_read_ms, now_ms),
        f"{rows:,}",
        styled(str(len(each.holes)), "red" if each.holes else ""),
    ]


def _missing(each: Completeness, character: Checked, now_ms: int) -> list[Text | str]:
    """Return what is missing of a data type and what to do, for people."""
    lines: list[Text | str] = []
    for hole in each.holes:
        lines += [styled(f"{each.data_type} {_span(hole)}: {hole.cause}", "red"), f"  {hole.details}"]
        lines.append(f"  {_prospect(hole, character)}")
    if (warning := _warning(each, character, now_ms)) is not None:
        lines.append(styled(f"{each.data_type}: {warning}", "yellow"))
    return lines


def _commands(found: dict[str, Completeness], character: Checked, now_ms: int) -> list[str]:
    """Return what to do, each line once: a new login is for all data types."""
    from ..jobs.historical_data import SCOPES
    from ..store.verification.remedies import to_collect

    return list(
        dict.fromkeys(
            to_collect(character, name, SCOPES)
            for name, each in found.items()
            if any(hole.can_be_filled for hole in each.holes) or _warning(each, character, now_ms) is not None
        )
    )


def _span(hole: Hole) -> str:
    return f"{moment(hole.from_ms)} to {moment(hole.until_ms)} ({duration(hole.until_ms - hole.from_ms)})"


def _prospect(hole: Hole, character: Checked) -> str:
    if character.is_sold:
        return "The character was sold, and ESI is not asked for its earlier owner: the hole remains."
    if hole.can_be_filled and character.needs_login:
        return "ESI still shows this time, or its end: after a new login the next collection reads it."
    if hole.can_be_filled:
        return "ESI still shows this time, or its end: the next collection reads it."
    if hole.cause == "unseen":
        return "Filled orders are in no list of ESI: the hole remains. Cancelled and expired ones are stored."
    return "ESI no longer shows this time: the rows are lost, and the hole remains."


def _warning(each: Completeness, character: Checked, now_ms: int) -> str | None:
    """Return why a data type must be read soon; None if nothing is lost yet, and for a sold character."""
    from ..store.history.completeness import RETENTION_MS

    retention_ms = RETENTION_MS[each.data_type]
    if character.is_sold:
        return None
    if each.complete_until_ms is None:
        return "never read completely"
    if retention_ms is None or now_ms - each.complete_until_ms < retention_ms / 2:
        return None
    lost_ms = each.complete_until_ms + retention_ms
    if lost_ms <= now_ms:
        return f"not read completely for {duration(now_ms - each.complete_until_ms)}: ESI has dropped rows since then"
    return f"not read completely for {duration(now_ms - each.complete_until_ms)}; ESI drops rows {ago(lost_ms, now_ms)}"


def _as_json(character: Checked, found: dict[str, Completeness], rows: dict[str, int], now_ms: int) -> dict[str, Any]:
    types = {
        name: {
            "completeSince": each.complete_since_ms,
            "completeUntil": each.complete_until_ms,
            "completeRead": each.complete_read_ms,
            "rows": rows[name],
            "warning": _warning(each, character, now_ms),
            "holes": [_hole_as_json(hole) for hole in each.holes],
        }
        for name, each in found.items()
    }
    named = {"characterId": character.character_id, "name": character.name, "state": character.state}
    return {**named, "dataTypes": types}


def _hole_as_json(hole: Hole) -> dict[str, Any]:
    return {
        "from": hole.from_ms,
        "until": hole.until_ms,
        "cause": hole.cause,
        "details": hole.details,
        "found": hole.found_ms,
        "canBeFilled": hole.can_be_filled,
    }


@group.command()
def holes(limit: Limit = 50, json: Json = False) -> None:
    """Show the holes of all characters: those that ESI can still fill first, the one that it drops first on top."""
    from ..store.verification.holes import all_holes

    now_ms = SystemClock().now_ms()
    with existing_database(settings(), wait_ms=None) as database:
        found, total = all_holes(database, now_ms, limit)
    if json:
        print_json({"holes": list(map(_found_as_json, found)), "total": total})
        return
    if not found:
        print_line("No hole is marked.")
        return
    headings = ("ID", "NAME", "DATA TYPE", "FROM", "UNTIL", "LENGTH", "ESI", "CAUSE")
    console().print(table(headings, map(_hole_row, found), right=("ID", "LENGTH")))
    more = f"{total - len(found)} more: --limit. " if total > len(found) else ""
    print_line(f"{more}See what to do: nomad history ID")


def _found_as_json(each: FoundHole) -> dict[str, Any]:
    names = {"characterId": each.character_id, "name": each.name, "state": each.state}
    names["dataType"] = each.hole.data_type
    return names | _hole_as_json(each.hole)


def _hole_row(each: FoundHole) -> list[Text | str]:
    hole = each.hole
    return [
        str(each.character_id),
        each.name,
        hole.data_type,
        moment(hole.from_ms),
        moment(hole.until_ms),
        duration(hole.until_ms - hole.from_ms),
        _at_esi(each),
        f"{hole.cause}: {hole.details}",
    ]


def _at_esi(each: FoundHole) -> Text:
    from ..store import NEEDS_LOGIN, SOLD

    if each.state == SOLD:
        return styled("not asked: sold")
    if not each.hole.can_be_filled:
        return styled("never had it" if each.hole.cause == "unseen" else "dropped it", "red")
    return styled("has it, needs login" if each.state == NEEDS_LOGIN else "has it", "yellow")
