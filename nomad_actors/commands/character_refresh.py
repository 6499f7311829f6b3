"""`nomad characters refresh`: adds the refreshes of one character, several or all, spread over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..clock import SystemClock
from ..errors import BadInput, UnknownCharacter, WrongState
from ..logs.counted import counted
from .audited import audited, existing_database
from .options import Json
from .report import duration, parse_duration, print_result
from .session import opened, settings, who

if TYPE_CHECKING:
    from ..esi import Route
    from ..jobs.many_refreshes import Pair
    from ..queues import AddedJob, Queues
    from ..store import Character
    from ..store.database import Database

#: How long the refreshes of many characters are spread if the command does not say.
DEFAULT_SPREAD = "1h"
_ONE_DAY_MS = 86_400_000
#: Jobs that are added in one call.
_STEP = 1_000

Group = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", metavar="GROUP", help="Routes of this group, as CHARACTER_WALLET. May be repeated."),
]
Spread = Annotated[
    str | None, typer.Option("--spread", metavar="TIME", help="Over how long they are spread, as 30m or 2h.")
]


def refresh(
    character_ids: Annotated[list[int] | None, typer.Argument(metavar="ID…", help="Ids of characters.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All characters whose login works.")] = False,
    groups: Group = None,
    full: Annotated[bool, typer.Option("--full", help="Without the ETags: replaces a copy that is wrong.")] = False,
    spread: Spread = None,
    json: Json = False,
) -> None:
    """Refresh the subscribed routes of characters, or those of --group, as soon as CCP's rules allow.

    The routes of a --group are subscribed from then on. The refreshes of several characters are spread over an hour.
    """
    from ..jobs.esi_refresh import routes_of

    if bool(character_ids) == all_:
        raise BadInput("name characters, or all of them with --all", accepted=["ID…", "--all"])
    routes = routes_of(groups or [])
    found = settings()
    with existing_database(found) as database:
        characters = _characters(database, character_ids)
        pairs = _pairs(database, characters, routes if groups else None, is_all=all_)
    spread_ms = spread_of(spread if spread is not None or len(characters) == 1 else DEFAULT_SPREAD)
    whose = counted(len(characters), "character")
    body = {"characters": character_ids or "all", "groups": groups or [], "full": full, "spreadMs": spread_ms}
    named = (str(character_ids[0]),) if character_ids and len(character_ids) == 1 else ()
    with audited(found, "POST", "characters", *named, "refresh", body=body), opened() as access:
        added = add_refreshes(access.queues, pairs, spread_ms=spread_ms, in_full=full)
    result = {"success": True, "characters": len(characters), "jobs": [job.id for job in added]}
    print_result(result, _sentence(len(added), whose, spread_ms), json=json)


def spread_of(text: str | None) -> int:
    """Return a spread in ms; raises `BadInput` beyond a day."""
    spread_ms = 0 if text is None else parse_duration(text, "--spread")
    if spread_ms > _ONE_DAY_MS:
        raise BadInput(f"--spread {text!r} is too long (allowed: up to 24h)", accepted=["up to 24h"])
    return spread_ms


def add_refreshes(queues: Queues, pairs: list[Pair], *, spread_ms: int, in_full: bool = False) -> list[AddedJob]:
    """Add the jobs, in parts; what was added stays if a later part is refused."""
    from ..jobs.many_refreshes import refresh_jobs

    jobs = refresh_jobs(pairs, spread_ms=spread_ms, in_full=in_full, requested_by=who())
    return [job for at in range(0, len(jobs), _STEP) for job in queues.add_jobs(jobs[at : at + _STEP])]


def _characters(database: Database, character_ids: list[int] | None) -> list[Character]:
    from ..store import ACTIVE, Logins

    logins = Logins(database, cipher=None, clock=SystemClock())
    if not character_ids:
        return logins.all()
    found = {number: logins.character(number) for number in character_ids}
    for number, character in found.items():
        if character is None:
            raise UnknownCharacter(f"character {number} never logged in; list them: nomad characters")
        if character.state != ACTIVE:
            raise WrongState(f"character {number} is {character.state}: {character.state_reason}")
    return [character for character in found.values() if character is not None]


def _pairs(database: Database, characters: list[Character], routes: list[Route] | None, *, is_all: bool) -> list[Pair]:
    from ..health.stale_routes import moment
    from ..jobs.many_refreshes import pairs_of, subscribed_pairs
    from ..store.route_status import read_subscribed

    if routes is not None:
        return pairs_of(characters, routes)
    ids = None if is_all else [each.character_id for each in characters]
    return subscribed_pairs(characters, read_subscribed(database, moment(SystemClock()), ids))


def _sentence(count: int, whose: str, spread_ms: int) -> str:
    if not count:
        return f"No route of {whose} is subscribed: request some with --group, such as --group CHARACTER_WALLET."
    spread = f", spread over {duration(spread_ms)}" if spread_ms else ""
    return f"{counted(count, 'job')} added for {whose}{spread}. See them: nomad jobs esi-refresh"
