"""What stops requests to ESI and SSO now, and how current each character's data is."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, Literal

from flask import Blueprint
from pydantic import Field

from nomad_actors.errors import BadInput, Unavailable, UnknownCharacter
from nomad_actors.esi.limits import BrakeState
from nomad_actors.health.characters import CharacterDetails, CharacterSummary, Refusal, details_of
from nomad_actors.health.stale_routes import moment
from nomad_actors.queues.across_queues import read_snapshots
from nomad_actors.queues.search import MAX_LIMIT
from nomad_actors.store import route_status
from nomad_actors.store.route_status import CharacterFilter

from ..current_app import all_queues, application
from ..data.responses import data
from ..inputs import Input
from .declared import InPath, declared
from .models import (
    CharacterPage,
    EsiState,
    EsiSwitch,
    Refusals,
)

api = Blueprint("esi", __name__, url_prefix="/admin/jobs")

#: Larger than every id of a character, user or offset.
_MAX_ID = 10**15 - 1
#: A rank and a character's id.
_CURSOR = re.compile(r"([0-9])\.(-?[0-9]{1,18})")


class RefusalsQuery(Input):
    """A page of the refusals."""

    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: int = Field(default=0, ge=0, le=_MAX_ID, description="`refusals.nextCursor` of the previous response")


class CharactersQuery(Input):
    """Filter of the characters."""

    state: Literal["active", "needs_login", "sold"] | None = Field(default=None, description="by default all")
    user_id: int | None = Field(default=None, ge=0, le=_MAX_ID)
    q: str = Field(default="", max_length=100, description="a part of the name, or the id")
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)
    cursor: str = Field(default="", description="`nextCursor` of the previous response")


def _character_id(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise UnknownCharacter(f"no character has the id {text!r:.80}")
    return int(text)


CharacterId = Annotated[int, InPath("a character's id; one that was sold has a negative one", _character_id)]


@api.get("/esi")
@declared(EsiState)
def esi(query: RefusalsQuery) -> EsiState:
    """Show what may be sent to ESI and SSO now: the common pause, limits, buckets, brakes and refusals."""
    switch = EsiSwitch.of(all_queues().esi_queues(), read_snapshots(all_queues()))
    fields = {name: getattr(switch, name) for name in EsiSwitch.model_fields}
    return EsiState(**fields, limits=application().limiter.state(), refusals=_refusals(query))


def _refusals(query: RefusalsQuery) -> Refusals | None:
    database, now_ms = application().store.database, application().clock.now_ms()
    try:
        counts = route_status.count_refusals(database, now_ms)
        found = route_status.read_refusals(database, now_ms, limit=query.limit + 1, offset=query.cursor)
    except Unavailable:
        # Limits and brakes are what an operator looks for while the database is away too.
        return None
    newest = [Refusal.of(each) for each in found[: query.limit]]
    more = str(query.cursor + query.limit) if len(found) > query.limit else None
    return Refusals(total=sum(counts.values()), by_endpoint=counts, newest=newest, next_cursor=more)


@api.get("/characters")
@declared(CharacterPage)
def characters(query: CharactersQuery) -> CharacterPage:
    """List characters with the numbers of their routes, those that need attention first."""
    database, now = application().store.database, moment(application().clock)
    chosen = CharacterFilter(state=query.state, user_id=query.user_id, text=query.q or None)
    found, after = route_status.read_characters(
        database, now, chosen, limit=query.limit, after=_after(query.cursor) if query.cursor else None
    )
    return CharacterPage.model_construct(
        characters=[CharacterSummary.of(each) for each in found],
        total=route_status.count_characters(database, chosen),
        next_cursor=None if after is None else f"{after[0]}.{after[1]}",
    )


def _after(cursor: str) -> tuple[int, int]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadInput(f"cursor {cursor!r:.80} is invalid (allowed: `nextCursor` of a response)")
    return int(match[1]), int(match[2])


@api.get("/characters/<character_id>")
@declared(CharacterDetails)
def character(character_id: CharacterId) -> CharacterDetails:
    """Show one character with each route, why its data is not current, and how complete its history is."""
    now = moment(application().clock)
    found = route_status.read_character(application().store.database, now, character_id)
    if found is None:
        raise UnknownCharacter(f"no character has the id {character_id}; it never logged in")
    brakes: list[BrakeState] = []
    # Without Redis the data still says most of it.
    with contextlib.suppress(Unavailable):
        brakes = application().limiter.state().brakes
    return details_of(*found, data().completeness(character_id), brakes, now)
