"""Authentication and authorization: bearer tokens, scopes, ownership of characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Request

from .responses import RequestError
from .tokens import BadToken, Claims
from .world.characters import Character

if TYPE_CHECKING:
    from .state import SandboxState


@dataclass(frozen=True)
class Caller:
    """The sender of a request: its address, and the claims of its token or the problem with the token."""

    address: str
    claims: Claims | None
    problem: str
    is_expired: bool = False

    @property
    def character_id(self) -> int | None:
        """The character of the token, None if anonymous."""
        return self.claims.character_id if self.claims else None

    def rate_limit_key(self, *, is_public: bool) -> str:
        """Return the owner of the token bucket (esi-docs, rate limiting).

        That is the application with the character, or the address on public routes, with the application if a token
        is sent anyway.
        """
        if self.claims is None:
            return self.address
        return f"{self.address if is_public else self.claims.character_id}:{self.claims.client_id}"


def authenticate(state: SandboxState, request: Request) -> Caller:
    """Read the bearer token; a missing or invalid one is an error only on routes that need one."""
    address = request.remote_addr or "unknown"
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return Caller(address, None, "authorization not provided")
    try:
        return Caller(address, state.signer.read(token.strip()), "")
    except BadToken as error:
        return Caller(address, None, str(error), error.is_expired)


def authorize(state: SandboxState, caller: Caller, character_id: int, scope: str | None) -> Character:
    """Return the requested character.

    Raises `RequestError`: 401 without a valid token, 404 for a character that does not exist, 403 for another character
    than the token's or for a missing scope.
    """
    if scope is not None and caller.claims is None:
        raise RequestError(401, caller.problem)
    character = state.world.character(character_id)
    if character is None:
        raise RequestError(404, "Character not found")
    if scope is not None and caller.claims is not None:
        if caller.claims.character_id != character_id:
            raise RequestError(403, "token is not valid for this character")
        if scope not in caller.claims.scopes:
            raise RequestError(403, f"token is not valid for scope: {scope}")
    return character
