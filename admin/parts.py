"""Where the views find the application that they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

if TYPE_CHECKING:
    from nomad_actors.app import AdminAccess
    from nomad_actors.queues import Queues

_NAME = "nomad"


def keep(web: Flask, app: AdminAccess) -> None:
    """Make `app` the application that the views of `web` show."""
    web.extensions[_NAME] = app


def application() -> AdminAccess:
    """Return the application of the request at hand."""
    return cast("AdminAccess", current_app.extensions[_NAME])


def all_queues() -> Queues:
    """Return the queues of the request at hand."""
    return application().queues
