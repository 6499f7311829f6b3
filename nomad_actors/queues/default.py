"""The queues of this process' application, for code that has no other reference to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NomadError

if TYPE_CHECKING:
    from .registry import Queues

_default: Queues | None = None


def set_default(queues: Queues | None) -> None:
    """Set the queues that this process uses by default."""
    global _default
    _default = queues


def default_queues() -> Queues:
    """Return this process' queues. Raises `NomadError` if no application has been created."""
    if _default is None:
        raise NomadError("no application in this process: call nomad_actors.connect() first")
    return _default
