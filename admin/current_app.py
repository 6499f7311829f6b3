"""The application that the views of the current request use."""

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
    """What this process remembers for when the database is unavailable."""

    #: The digests of revoked tokens.
    revoked: set[str] = field(default_factory=set)
    #: Sessions by hash, with the time (ms since the epoch) when each was last found valid; the most recent one last.
    sessions: dict[str, tuple[AdminSession, int]] = field(default_factory=dict)


def attach(web: Flask, app: AdminAccess) -> None:
    """Make `app` the application of `web`'s views."""
    web.extensions[_NAME] = app
    web.extensions[_MEMORY] = Memory()


def application() -> AdminAccess:
    return cast("AdminAccess", current_app.extensions[_NAME])


def memory() -> Memory:
    return cast("Memory", current_app.extensions[_MEMORY])


def all_queues() -> Queues:
    """Return the queues of the current request."""
    return application().queues
