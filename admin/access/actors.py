"""The actor of a request, as the guard has identified it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import g

from nomad_actors.settings.admin_tokens import OPERATOR, VIEWER, AdminToken

from ..current_app import application
from .sessions import Session


@dataclass(frozen=True)
class Actor:
    """A caller with a role; `session` is set if a page's cookie identified it.

    With `users` it may see only the data of these users' characters.
    """

    name: str
    role: str
    session: Session | None = None
    users: tuple[int, ...] = ()

    @classmethod
    def of_token(cls, token: AdminToken, session: Session | None = None) -> Actor:
        return cls(token.name, token.role, session, token.users)


#: A caller on this machine without a token, if no tokens are configured.
VISITOR = Actor("", VIEWER)
#: An unidentified caller: may only see the login page.
NOBODY = Actor("", "")


def current_actor() -> Actor:
    """Return the actor of the current request."""
    return cast(Actor, g.get("actor", NOBODY))


def set_actor(actor: Actor) -> None:
    g.actor = actor


def may_change() -> bool:
    """Return True if the current actor may change anything."""
    return current_actor().role == OPERATOR and not application().settings.admin_read_only
