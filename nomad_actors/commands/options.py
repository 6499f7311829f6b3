"""Options that several commands share, and the question before something is destroyed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..broker.states import State, names_of
from ..errors import BadInput
from .report import printable

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where no terminal is.")]
InQueue = Annotated[str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Look in this queue only.")]


def states_of(text: str | None) -> list[str]:
    """Return the states that are written with commas between them; those that wait in a paused queue wait too."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    return list(
        dict.fromkeys(
            each for word in words for each in (names_of(State.WAITING) if word == State.WAITING else (word,))
        )
    )


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed; without a terminal only `yes` will do.

    Raises `BadInput` where nobody can be asked, and ends the command when the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Without a terminal to ask at, this needs --yes", accepted=["--yes"])
    if not typer.confirm(printable(question), err=True):
        raise typer.Exit(1)
