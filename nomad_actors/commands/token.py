"""`nomad token`: makes a token for the admin."""

from __future__ import annotations

from typing import Annotated

import typer


def token(
    name: Annotated[str, typer.Argument(help="Who it is for; the audit log names it.")],
    role: Annotated[str, typer.Option(help="viewer (looks) or operator (changes too).")],
) -> None:
    """Make a token for the admin: prints it, once, and the entry to add to NOMAD_ADMIN_TOKENS."""
    from ..admin_tokens import ROLES, WrongEntry, new_token, token_entry

    if role not in ROLES:
        raise typer.BadParameter(f"{role!r} is no role (accepted: {', '.join(ROLES)})", param_hint="--role")
    made = new_token()
    try:
        entry = token_entry(name, role, made)
    except WrongEntry as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    typer.echo(f"The token, shown this once: {made}")
    typer.echo(f"Add to NOMAD_ADMIN_TOKENS:  {entry.entry}")
