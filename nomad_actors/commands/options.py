"""Options that several commands share, and the confirmation before something is destroyed."""

from __future__ import annotations

import sys
from itertools import chain
from typing import Annotated

import typer

from ..broker.states import State, names_of
from ..errors import BadInput
from .report import printable

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation. Required without a terminal.")]
CharacterId = Annotated[int, typer.Argument(metavar="ID", help="The character's id.")]
#: Context settings of a command that takes a negative id, as archives of sold characters have: it is not an option.
NEGATIVE_IDS = {"ignore_unknown_options": True}
QueueName = Annotated[str, typer.Argument(metavar="QUEUE")]
JobId = Annotated[str, typer.Argument(metavar="ID")]
InQueue = Annotated[str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Search only this queue.")]
JobTypeName = Annotated[str | None, typer.Option("--type", "-t", metavar="JOBTYPE")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", "-f", metavar="NAME=VALUE", help="Value of an indexed field of the data. May be repeated."),
]
Fingerprint = Annotated[str | None, typer.Option(metavar="HEX", help="Jobs of this failure group; see nomad failures.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)]


def parse_states(text: str | None) -> list[str]:
    """Return a comma-separated list of states. `waiting` includes `paused`: jobs that wait in a paused queue."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    names = (names_of(State.WAITING) if word == State.WAITING else (word,) for word in words)
    return list(dict.fromkeys(chain.from_iterable(names)))


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation unless `yes` is set; end the command if the user declines or there is no terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} There is no terminal to ask on: confirm with --yes", accepted=["--yes"])
    if not typer.confirm(printable(question), err=True):
        raise typer.Exit(1)
