"""Who asks, once the guard has recognised them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import g

from nomad_actors.settings.admin_tokens import OPERATOR, VIEWER

from ..parts import application
from .sessions import Session


@dataclass(frozen=True)
class Actor:
    """Somebody with a role; `session` when a page's cookie said who it is."""

    name: str
    role: str
    session: Session | None = None


#: Whoever asks from this machine without a token, where none are configured.
VISITOR = Actor("", VIEWER)
#: Nobody that is known: may see the login page and nothing else.
NOBODY = Actor("", "")


def current_actor() -> Actor:
    """Return who the request at hand comes from."""
    return cast(Actor, g.get("actor", NOBODY))


def recognise(actor: Actor) -> None:
    """Note who the request at hand comes from."""
    g.actor = actor


def may_change() -> bool:
    """Return whether the one who asks may change anything now."""
    return current_actor().role == OPERATOR and not application().settings.admin_read_only
