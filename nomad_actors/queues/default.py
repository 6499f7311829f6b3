"""The queues of this process' application, for code that is given none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NomadError

if TYPE_CHECKING:
    from .registry import Queues

_default: Queues | None = None


def set_default(queues: Queues | None) -> None:
    """Make `queues` what this process uses where none are given."""
    global _default
    _default = queues


def default_queues() -> Queues:
    """Return the process' queues.

    Raises `NomadError` when no application was created.
    """
    if _default is None:
        raise NomadError("no application in this process: call nomad_actors.connect() first")
    return _default
