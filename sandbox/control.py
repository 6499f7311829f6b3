"""The sandbox's control API below /sandbox: logins, clock, request log, conduct record.

What makes weather, such as faults, is in `control_weather`.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from . import control_weather
from .fault_kinds import DEAD_LOGINS
from .grants import Grant
from .responses import RequestError, as_json
from .state import SandboxState
from .world.characters import Character

PREFIX = "/sandbox/"


def create_blueprint(state: SandboxState) -> Blueprint:
    """Return the blueprint below /sandbox."""
    blueprint = Blueprint("control", __name__, url_prefix="/sandbox")
    blueprint.register_error_handler(RequestError, lambda problem: problem.response())
    _add_logins(blueprint, state)
    _add_clock_and_log(blueprint, state)
    _add_conduct(blueprint, state)
    control_weather.add_faults(blueprint, state)
    control_weather.add_script(blueprint, state)
    control_weather.add_limits(blueprint, state)
    return blueprint


def list_logins(state: SandboxState) -> list[dict[str, object]]:
    """Return the result of a login of each character, with its currently valid refresh token."""
    latest = state.grants.latest()
    return [_login(state, each, latest.get(each.character_id)) for each in state.world.characters]


def _login(state: SandboxState, character: Character, grant: Grant | None) -> dict[str, object]:
    return {
        "character_id": character.character_id,
        "user_id": character.user_id,
        "name": character.name,
        "owner_hash": state.grants.owner(character),
        "scopes": list(grant.scopes) if grant else [],
        "refresh_token": grant.refresh_token if grant else None,
        "profession": character.profession,
    }


def _add_logins(blueprint: Blueprint, state: SandboxState) -> None:
    @blueprint.get("/logins")
    def logins() -> Response:
        return as_json(list_logins(state))

    @blueprint.delete("/logins/<int:character_id>")
    def kill_login(character_id: int) -> Response:
        kind = request.args.get("kind", "dead-token")
        if kind not in DEAD_LOGINS:
            raise RequestError(400, f"kind must be one of {', '.join(DEAD_LOGINS)}, got {kind!r}")
        state.grants.kill(_known(state, character_id), kind=kind)
        return Response(status=204)

    @blueprint.post("/characters/<int:character_id>/sale")
    def sell(character_id: int) -> Response:
        character = _known(state, character_id)
        state.grants.sell(character, kills=request.args.get("kills", "true") == "true")
        return as_json({"owner_hash": state.grants.owner(character)})


def _add_clock_and_log(blueprint: Blueprint, state: SandboxState) -> None:
    @blueprint.get("/clock")
    def clock() -> Response:
        return as_json({"now_ms": int(state.clock.now() * 1000), "speed": state.clock.speed})

    @blueprint.post("/clock")
    def set_clock() -> Response:
        body = request.get_json(silent=True)
        if not isinstance(body, dict) or not body or set(body) - {"advance_seconds", "speed"}:
            raise RequestError(400, "the body must have advance_seconds (a number, 0 or more), speed, or both")
        try:
            if "speed" in body:
                state.clock.set_speed(float(body["speed"]))
            state.clock.advance(float(body.get("advance_seconds", 0)))
        except (TypeError, ValueError) as error:
            raise RequestError(400, str(error)) from error
        return clock()

    @blueprint.get("/requests")
    def requests() -> Response:
        return as_json(state.log.as_json())

    @blueprint.delete("/requests")
    def clear_requests() -> Response:
        state.log.clear()
        return Response(status=204)


def _add_conduct(blueprint: Blueprint, state: SandboxState) -> None:
    @blueprint.get("/conduct")
    def conduct() -> Response:
        return as_json(state.conduct.record())

    @blueprint.delete("/conduct")
    def clear_conduct() -> Response:
        # Without knowledge, too, for a client that begins anew.
        state.conduct.restart() if request.args.get("restart") == "true" else state.conduct.clear()
        return Response(status=204)

    @blueprint.get("/counters")
    def counters() -> Response:
        return as_json(state.conduct.counters())


def _known(state: SandboxState, character_id: int) -> Character:
    character = state.world.character(character_id)
    if character is None:
        raise RequestError(404, f"no character {character_id}; GET /sandbox/logins lists them")
    return character
