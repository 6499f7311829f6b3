"""What the sandbox offers beside ESI and SSO, below /sandbox: first logins, faults, the clock, what was asked."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, request

from .answers import Refusal, as_json
from .faults import BadFault, Fault
from .grants import Grant
from .parts import Parts
from .world.characters import Character

PREFIX = "/sandbox/"


def create_blueprint(parts: Parts) -> Blueprint:
    """Return the blueprint below /sandbox."""
    blueprint = Blueprint("control", __name__, url_prefix="/sandbox")
    blueprint.register_error_handler(Refusal, lambda refusal: refusal.answer())

    @blueprint.get("/logins")
    def logins() -> Response:
        return as_json(list_logins(parts))

    @blueprint.delete("/logins/<int:character_id>")
    def kill_login(character_id: int) -> Response:
        parts.grants.kill(_known(parts, character_id))
        return Response(status=204)

    @blueprint.post("/characters/<int:character_id>/sale")
    def sell(character_id: int) -> Response:
        character = _known(parts, character_id)
        parts.grants.sell(character)
        return as_json({"owner_hash": parts.grants.owner(character)})

    _add_faults(blueprint, parts)
    _add_clock_and_log(blueprint, parts)
    return blueprint


def list_logins(parts: Parts) -> list[dict[str, object]]:
    """Return what a login of each character would have given, with the refresh token that is good now."""
    latest = parts.grants.latest()
    return [_login(parts, each, latest.get(each.character_id)) for each in parts.world.characters]


def _login(parts: Parts, character: Character, grant: Grant | None) -> dict[str, object]:
    return {
        "character_id": character.character_id,
        "user_id": character.user_id,
        "name": character.name,
        "owner_hash": parts.grants.owner(character),
        "scopes": list(grant.scopes) if grant else [],
        "refresh_token": grant.refresh_token if grant else None,
        "profession": character.profession,
    }


def _add_faults(blueprint: Blueprint, parts: Parts) -> None:
    @blueprint.get("/faults")
    def faults() -> Response:
        return as_json([asdict(fault) for fault in parts.faults.waiting()])

    @blueprint.post("/faults")
    def add_fault() -> Response:
        try:
            fault = Fault.from_json(request.get_json(silent=True))
        except BadFault as error:
            raise Refusal(400, str(error)) from error
        parts.faults.add(fault)
        return as_json(asdict(fault), status=201)

    @blueprint.delete("/faults")
    def clear_faults() -> Response:
        parts.faults.clear()
        return Response(status=204)


def _add_clock_and_log(blueprint: Blueprint, parts: Parts) -> None:
    @blueprint.get("/clock")
    def clock() -> Response:
        return as_json({"now_ms": int(parts.clock.now() * 1000)})

    @blueprint.post("/clock")
    def advance() -> Response:
        asked = request.get_json(silent=True)
        seconds = asked.get("advance_seconds") if isinstance(asked, dict) else None
        if not isinstance(seconds, (int, float)) or seconds < 0:
            raise Refusal(400, 'the body must be {"advance_seconds": a number not below 0}')
        parts.clock.advance(seconds)
        return clock()

    @blueprint.get("/requests")
    def requests() -> Response:
        return as_json(parts.log.as_json())

    @blueprint.delete("/requests")
    def clear_requests() -> Response:
        parts.log.clear()
        return Response(status=204)


def _known(parts: Parts, character_id: int) -> Character:
    character = parts.world.character(character_id)
    if character is None:
        raise Refusal(404, f"no character {character_id} lives here; GET /sandbox/logins lists them")
    return character
