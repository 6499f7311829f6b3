"""Where the views find the application that they show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

if TYPE_CHECKING:
    from nomad_actors.app import AdminAccess
    from nomad_actors.queues import Queues
    from nomad_actors.store import AdminSession

_NAME = "nomad"
_MEMORY = "nomad_memory"


@dataclass(frozen=True)
class Memory:
    """What this process remembers for the time when the database is away."""

    #: The hashes of tokens that were revoked.
    revoked: set[str] = field(default_factory=set)
    #: Sessions by their hash, with the time (epoch ms) at which each was last found good; the latest last.
    sessions: dict[str, tuple[AdminSession, int]] = field(default_factory=dict)


def keep(web: Flask, app: AdminAccess) -> None:
    """Make `app` the application that the views of `web` show."""
    web.extensions[_NAME] = app
    web.extensions[_MEMORY] = Memory()


def application() -> AdminAccess:
    """Return the application of the request at hand."""
    return cast("AdminAccess", current_app.extensions[_NAME])


def memory() -> Memory:
    """Return what this process remembers."""
    return cast("Memory", current_app.extensions[_MEMORY])


def all_queues() -> Queues:
    """Return the queues of the request at hand."""
    return application().queues
