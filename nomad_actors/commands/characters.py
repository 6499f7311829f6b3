"""`nomad characters`: shows the characters and their routes, and clears refusals."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..clock import SystemClock
from ..errors import BadInput, Unavailable, UnknownCharacter
from ..logs.counted import counted
from .audited import audited, existing_database
from .character_changes import import_logins, remove
from .character_refresh import refresh
from .options import NEGATIVE_IDS, CharacterId, Json, Limit
from .report import (
    NONE,
    ago,
    console,
    duration,
    moment,
    now_ms,
    print_json,
    print_line,
    print_result,
    print_text,
    styled,
    table,
)
from .session import settings

if TYPE_CHECKING:
    from rich.text import Text

    from ..esi.limits import BrakeState
    from ..health.characters import CharacterDetails, CharacterRoute
    from ..store.route_status import CharacterStatus, Moment

RouteName = Annotated[
    str | None, typer.Option("--route", metavar="ROUTE", help="Only this route, as /characters/5/wallet.")
]

group = typer.Typer(
    help="Show and manage the characters that logged in.", invoke_without_command=True, rich_markup_mode=None
)


group.command("remove", context_settings=NEGATIVE_IDS)(remove)
group.command("import")(import_logins)
group.command("refresh")(refresh)


@group.callback()
def characters(
    context: typer.Context,
    state: Annotated[str | None, typer.Option("--state", help="active, needs_login or sold.")] = None,
    user_id: Annotated[int | None, typer.Option("--user-id", help="Only characters of this user.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only names that contain this, or this id.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """Show the characters, those that need attention first."""
    if context.invoked_subcommand is not None:
        return
    from ..health.characters import CharacterSummary
    from ..store.route_status import STATES, CharacterFilter, count_characters, read_characters

    if state is not None and state not in STATES:
        raise BadInput(f"state {state!r} does not exist (allowed: {', '.join(STATES)})", accepted=STATES)
    chosen, now = CharacterFilter(state=state, user_id=user_id, text=name), _moment()
    with existing_database(settings()) as database:
        found, _ = read_characters(database, now, chosen, limit=limit)
        total = count_characters(database, chosen)
    if json:
        print_json({"characters": [CharacterSummary.of(each).as_json() for each in found], "total": total})
        return
    right = ("ID", "USER", "LATE", "FAILING", "REFUSED", "SET ASIDE")
    headings = ("ID", "NAME", "USER", "STATE", "SCOPES", "LAST SUCCESS", "WORST OVERDUE", *right[2:], "WHY")
    if found:
        console().print(table(headings, (_row(each, now.now_ms) for each in found), right=right))
    else:
        print_line("No characters match." if (state or user_id or name) else "No character has logged in: nomad login")
    if total > len(found):
        print_line(f"{total - len(found)} more: --limit, --state, --user-id or --name selects.")


def _moment() -> Moment:
    from ..health import stale_routes

    return stale_routes.moment(SystemClock())


def _missing_scopes(character: CharacterStatus) -> list[str]:
    from ..esi import ROUTES

    return sorted({scope for route in ROUTES.values() for scope in route.scopes} - character.scopes)


def _row(each: CharacterStatus, now: int) -> list[Text | str]:
    from ..health.characters import CharacterSummary

    missing, is_lost = len(_missing_scopes(each)), each.state == "needs_login" or each.strikes > 0
    return [
        str(each.character_id),
        each.name,
        str(each.user_id),
        styled("dying" if each.strikes else each.state, "red" if is_lost else ""),
        f"{len(each.scopes)}, {missing} missing" if missing else str(len(each.scopes)),
        ago(each.synced_ms, now),
        _overdue(each, now),
        *(
            styled(str(count), "yellow" if count else "")
            for count in (each.late, each.failing, each.refused, each.set_aside)
        ),
        CharacterSummary.of(each).why or NONE,
    ]


def _overdue(each: CharacterStatus, now: int) -> Text | str:
    from ..esi import dataset_of

    if each.overdue_route is None or each.overdue_since_ms is None:
        return NONE
    return styled(f"{dataset_of(each.overdue_route)} {duration(now - each.overdue_since_ms)}", "yellow")


@group.command(context_settings=NEGATIVE_IDS)
def show(character_id: CharacterId, json: Json = False) -> None:
    """Show one character: per route the last attempt and success, next due time, refusal and last error."""
    from ..health.characters import details_of
    from ..store.history.completeness import completeness
    from ..store.route_status import read_character

    now = _moment()
    with existing_database(settings()) as database:
        found = read_character(database, now, character_id)
        with database.read() as connection:
            history = completeness(connection, character_id, now.now_ms)
    _require(found, character_id)
    assert found is not None
    details = details_of(*found, history, _brakes(), now)
    if json:
        print_json(details.as_json())
        return
    print_text(*_details(details, now.now_ms))
    right = ("FAILURES", "SET ASIDE")
    headings = ("ROUTE", "ATTEMPT", "SUCCESS", "DATA AS OF", "NEXT DUE", "REFUSED UNTIL", *right, "WHY NOT CURRENT")
    console().print(table(headings, (_route_row(each, now.now_ms) for each in details.endpoints), right=right))


def _details(character: CharacterDetails, now: int) -> list[Text | str]:
    why = f" ({character.state_reason})" if character.state_reason else ""
    lines: list[Text | str] = [
        styled(f"{character.name} {character.character_id}", "bold"),
        f"  user      {character.user_id}",
        f"  state     {character.state} since {moment(character.state_changed_ms)}{why}",
        f"  scopes    {len(character.scopes)}",
    ]
    if character.missing_scopes:
        lines.append(styled(f"  missing   {', '.join(character.missing_scopes)}", "yellow"))
    if character.offline_since_ms is not None:
        lines.append(f"  offline   since {ago(character.offline_since_ms, now)}")
    if holes := sum(each.holes for each in character.completeness.values()):
        fillable = sum(each.can_be_filled for each in character.completeness.values())
        text = f"{counted(holes, 'hole')}, {fillable} that ESI can still fill: nomad history {character.character_id}"
        lines.append(styled(f"  history   {text}", "yellow"))
    return lines


def _brakes() -> list[BrakeState]:
    """Return the brakes in force; none while Redis does not answer, because the data still says most of it."""
    from ..esi.limits import open_limiter

    with contextlib.suppress(Unavailable):
        return open_limiter(settings(), SystemClock(), deadline_ms=5_000).state().brakes
    return []


def _route_row(route: CharacterRoute, now: int) -> list[Text | str]:
    refused_until_ms = route.refused_until_ms if (route.refused_until_ms or 0) > now else None
    return [
        route.endpoint,
        ago(route.last_attempt_ms, now),
        ago(route.last_success_ms, now),
        moment(route.data_as_of_ms),
        ago(route.next_due_ms, now),
        styled(moment(refused_until_ms), "yellow" if refused_until_ms else ""),
        styled(str(route.failures), "yellow" if route.failures else ""),
        styled(str(route.set_aside), "yellow" if route.set_aside else ""),
        _reason(route),
    ]


def _reason(route: CharacterRoute) -> str:
    reason = route.why_stale or route.error
    if reason is None:
        return NONE
    # The messages of ESI's errors have the request's id already.
    return (
        reason if route.request_id is None or route.request_id in reason else f"{reason} (request {route.request_id})"
    )


@group.command()
def refusals(limit: Limit = 50, json: Json = False) -> None:
    """Show the routes that ESI refuses or cannot answer, the last attempt first. Nothing is sent until their time."""
    from ..health.characters import Refusal
    from ..store.route_status import read_refusals

    now = int(now_ms())
    with existing_database(settings()) as database:
        found = read_refusals(database, now, limit=limit, offset=0)
    if json:
        print_json({"refusals": [Refusal.of(each).as_json() for each in found]})
        return
    rows = [
        [str(each.character_id), each.route, ago(each.until_ms, now), str(each.refusals), each.reason or NONE]
        for each in found
    ]
    headings = ("ID", "ROUTE", "UNTIL", "TIMES", "WHY")
    console().print(table(headings, rows, right=("ID", "TIMES")) if rows else "No route is refused.")


@group.command()
def clear_refusals(character_id: CharacterId, route: RouteName = None, json: Json = False) -> None:
    """Let the routes that ESI refused be requested again, after the cause was corrected."""
    from ..esi import normalise
    from ..store import Logins

    name = None if route is None else normalise(route).name
    found, body = settings(), {} if name is None else {"route": name}
    with existing_database(found) as database:
        logins = Logins(database, cipher=None, clock=SystemClock())
        _require(logins.character(character_id), character_id)
        with audited(found, "POST", "characters", str(character_id), "clear-refusals", body=body):
            count = logins.clear_refusals(character_id, name)
    result = {"success": True, "characterId": character_id, "cleared": count}
    print_result(result, f"{counted(count, 'refusal')} of character {character_id} cleared.", json=json)


def _require(character: Any, character_id: int) -> None:
    if character is None:
        raise UnknownCharacter(f"character {character_id} never logged in; list them: nomad characters")
