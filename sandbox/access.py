"""Who asks and what they may: bearer tokens, scopes, whose character it is."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request

from .answers import Refusal
from .parts import Parts
from .tokens import BadToken, Claims
from .world.characters import Character


@dataclass(frozen=True)
class Asker:
    """One request's sender: its address, and its token's claims or what was wrong with the token."""

    address: str
    claims: Claims | None
    problem: str

    @property
    def limited_as(self) -> str:
        """Whose token bucket is charged: application and character, or the address of the anonymous."""
        return f"{self.claims.client_id}:{self.claims.character_id}" if self.claims else self.address


def authenticate(parts: Parts, request: Request) -> Asker:
    """Read the bearer token; a missing or bad one is a matter of the routes that need one."""
    address = request.remote_addr or "unknown"
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return Asker(address, None, "authorization not provided")
    try:
        return Asker(address, parts.signer.read(token.strip()), "")
    except BadToken as error:
        return Asker(address, None, str(error))


def authorize(parts: Parts, asker: Asker, character_id: int, scope: str | None) -> Character:
    """Return the character asked for.

    Raises `Refusal`: 401 without a valid token, 404 for a character that does not exist, 403 for another's character
    or a scope that the token does not have.
    """
    if scope is not None and asker.claims is None:
        raise Refusal(401, asker.problem)
    character = parts.world.character(character_id)
    if character is None:
        raise Refusal(404, "Character not found")
    if scope is not None and asker.claims is not None:
        if asker.claims.character_id != character_id:
            raise Refusal(403, "token is not valid for this character")
        if scope not in asker.claims.scopes:
            raise Refusal(403, f"token is not valid for scope: {scope}")
    return character
