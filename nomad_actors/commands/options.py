"""Options that several commands share, and the confirmation before something is destroyed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..broker.states import State, names_of
from ..errors import BadInput
from .report import printable

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation. Required without a terminal.")]
InQueue = Annotated[str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Search only this queue.")]


def parse_states(text: str | None) -> list[str]:
    """Return a comma-separated list of states. `waiting` includes `paused`: jobs that wait in a paused queue."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    return list(
        dict.fromkeys(
            each for word in words for each in (names_of(State.WAITING) if word == State.WAITING else (word,))
        )
    )


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation unless `yes` is set; end the command if the user declines.

    Raises `BadInput` if there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} There is no terminal to ask on: confirm with --yes", accepted=["--yes"])
    if not typer.confirm(printable(question), err=True):
        raise typer.Exit(1)
