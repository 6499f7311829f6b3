"""`nomad token`: make a token for the admin, or revoke one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInput, Unavailable
from ..settings.admin_tokens import AdminToken

if TYPE_CHECKING:
    from ..settings import Settings


def token(
    name: Annotated[str, typer.Argument(help="Who it is for; the audit log shows this name.")],
    role: Annotated[str | None, typer.Option(help="viewer (reads) or operator (reads and changes).")] = None,
    revoke: Annotated[
        bool,
        typer.Option("--revoke", help="Revoke the token with this name or entry in every admin at once."),
    ] = False,
) -> None:
    """Make a token for the admin, and print it with its entry for NOMAD_ADMIN_TOKENS. Or revoke a token.

    --revoke ends the token and its sessions at once, in every admin of the database and without a restart. Remove its
    entry from NOMAD_ADMIN_TOKENS later. If no tokens are configured, `nomad token local --revoke` replaces the token of
    this machine.
    """
    if revoke:
        if role is not None:
            raise typer.BadParameter("it cannot be combined with --revoke", param_hint="--role")
        _revoke(name)
        return
    _make(name, role)


def _make(name: str, role: str | None) -> None:
    from ..settings.admin_tokens import ROLES, WrongEntry, new_token, token_entry

    if role not in ROLES:
        problem = "no role is given" if role is None else f"{role!r} is not a role"
        raise typer.BadParameter(f"{problem} (allowed: {', '.join(ROLES)})", param_hint="--role")
    secret = new_token()
    try:
        entry = token_entry(name, role, secret)
    except WrongEntry as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    typer.echo(f"Token (shown only once): {secret}")
    typer.echo(f"Add to NOMAD_ADMIN_TOKENS:  {entry.entry}")


def _revoke(name: str) -> None:
    from ..store.local_token import NAME
    from .audited import open_database, record_outcome, record_request
    from .session import settings, who

    found = settings()
    if not found.admin_tokens and name == NAME:
        _replace_local(found)
        return
    entry = _entry(found, name)
    with open_database(found) as (database, why):
        if database is None:
            raise Unavailable(f"the token is not revoked: {why}")
        from ..clock import SystemClock
        from ..store import AdminSessions, Audit

        clock = SystemClock()
        audit = Audit(database, clock=clock)
        audit_entry = record_request(audit, "DELETE", ("tokens", entry.name), None)
        is_new = AdminSessions(database, clock=clock).revoke(entry.digest, entry.name, who())
        record_outcome(audit, audit_entry, 200, None)
    typer.echo(
        f"The token of {entry.name} {'is revoked' if is_new else 'was revoked before'}, and its sessions have ended."
    )


def _replace_local(found: Settings) -> None:
    from ..clock import SystemClock
    from ..store.local_token import NAME, TOKEN_FILE, replace_token
    from .audited import audited_on

    with audited_on(found, SystemClock(), "DELETE", "tokens", NAME):
        replace_token(found.var_dir)
    typer.echo(
        f"{found.var_dir / TOKEN_FILE} contains a new token. The old token, its links and its sessions no longer work."
    )


def _entry(found: Settings, text: str) -> AdminToken:
    """Return an entry by its name, its full text or its token.

    Raises `BadInput`, without the text, since that may be a token.
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
            raise BadInput("only one token can be revoked at a time (allowed: one name, entry or token)")
        return entry
    except WrongEntry as error:
        names = [entry.name for entry in found.admin_tokens]
        configured = ", ".join(names) or "none is set"
        allowed = f"a name in it: {configured}; or a full entry, name:role:sha256"
        raise BadInput(f"NOMAD_ADMIN_TOKENS has no such entry (allowed: {allowed})", accepted=names) from error
