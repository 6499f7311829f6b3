"""`nomad token`: makes a token for the admin, and revokes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInput, Unavailable
from ..settings.admin_tokens import AdminToken

if TYPE_CHECKING:
    from ..settings import Settings


def token(
    name: Annotated[str, typer.Argument(help="Who it is for; the audit log names it.")],
    role: Annotated[str | None, typer.Option(help="viewer (looks) or operator (changes too).")] = None,
    revoke: Annotated[
        bool,
        typer.Option("--revoke", help="Revoke the token with this name or entry, at once in every admin."),
    ] = False,
) -> None:
    """Make a token for the admin: prints it, once, and the entry to add to NOMAD_ADMIN_TOKENS. Or revoke one.

    With --revoke the token and its sessions end at once in every admin of the database, without a restart; take its
    entry out of NOMAD_ADMIN_TOKENS when you next may. Where no tokens are configured, `nomad token local --revoke`
    makes a new one in the place of the machine's own.
    """
    if revoke:
        if role is not None:
            raise typer.BadParameter("a token is revoked by its name alone", param_hint="--role")
        _revoke(name)
        return
    _make(name, role)


def _make(name: str, role: str | None) -> None:
    from ..settings.admin_tokens import ROLES, WrongEntry, new_token, token_entry

    if role not in ROLES:
        said = "no role is named" if role is None else f"{role!r} is no role"
        raise typer.BadParameter(f"{said} (accepted: {', '.join(ROLES)})", param_hint="--role")
    made = new_token()
    try:
        entry = token_entry(name, role, made)
    except WrongEntry as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    typer.echo(f"The token, shown this once: {made}")
    typer.echo(f"Add to NOMAD_ADMIN_TOKENS:  {entry.entry}")


def _revoke(name: str) -> None:
    from ..store.local_token import NAME
    from .audited import asked, ended, opened_database
    from .session import settings, who

    found = settings()
    if not found.admin_tokens and name == NAME:
        _replace_local(found)
        return
    entry = _entry(found, name)
    with opened_database(found) as (database, why):
        if database is None:
            raise Unavailable(f"nothing is revoked: {why}")
        from ..clock import SystemClock
        from ..store import AdminSessions, Audit

        clock = SystemClock()
        audit = Audit(database, clock=clock)
        written = asked(audit, "DELETE", ("tokens", entry.name), None)
        is_new = AdminSessions(database, clock=clock).revoke(entry.digest, entry.name, who())
        ended(audit, written, 200, None)
    typer.echo(
        f"The token of {entry.name} {'is revoked' if is_new else 'was revoked before'}, and its sessions are over."
    )


def _replace_local(found: Settings) -> None:
    from ..clock import SystemClock
    from ..store.local_token import NAME, TOKEN_FILE, replace_token
    from .audited import audited_on

    with audited_on(found, SystemClock(), "DELETE", "tokens", NAME):
        replace_token(found.var_dir)
    typer.echo(
        f"{found.var_dir / TOKEN_FILE} holds a new token. The old token, its links and its sessions no longer work."
    )


def _entry(found: Settings, text: str) -> AdminToken:
    """Return the entry that is meant: by its name, written out, or by the token itself.

    Raises `BadInput`; it does not repeat the text, which may be a token.
    """
    from ..settings.admin_tokens import OPERATOR, WrongEntry, digest_of, may_be_token, parse_tokens

    for entry in found.admin_tokens:
        if text == entry.name or digest_of(text) == entry.digest:
            return entry
    try:
        if may_be_token(text):
            return AdminToken("unknown", OPERATOR, digest_of(text))
        entry, *others = parse_tokens(text)
        if others:
            raise BadInput("these are several entries: revoke one at a time (accepted: one name, entry or token)")
        return entry
    except WrongEntry as error:
        names = [entry.name for entry in found.admin_tokens]
        here = ", ".join(names) or "none is set here"
        accepted = f"a name in it: {here}; or a whole entry, name:role:sha256"
        raise BadInput(f"NOMAD_ADMIN_TOKENS has no such entry (accepted: {accepted})", accepted=names) from error
