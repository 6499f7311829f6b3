"""`nomad admin` and `nomad token`: who may log in to the admin, from the machine that it runs on or with a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ..clock import SystemClock
from ..errors import BadInput, Unavailable, WrongValue
from ..settings import Settings
from ..settings.addresses import local_url
from ..settings.admin_tokens import (
    OPERATOR,
    READER,
    ROLES,
    AdminToken,
    digest_of,
    may_be_token,
    new_token,
    parse_tokens,
    token_entry,
)
from .audited import audited, open_database
from .report import now_ms
from .session import settings, who

group = typer.Typer(help="Open the admin.", no_args_is_help=True)


@group.command()
def link(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The admin's port, if ADMIN_PORT is 0.")] = None,
) -> None:
    """Print a link that logs a browser in as operator. It works once, within ten minutes."""
    from ..store.local_token import new_link

    found = settings()
    base = _base_url(found, port)
    if found.admin_tokens:
        raise BadInput(
            f"there are no links when NOMAD_ADMIN_TOKENS is set: log in at {base}/admin/login with one of its tokens, "
            "or make one: nomad token NAME --role operator"
        )
    # Not wrapped, so that it can be copied.
    typer.echo(new_link(found.var_dir, base, int(now_ms())))


def _base_url(found: Settings, port: int | None) -> str:
    chosen = port or found.admin_port
    if not chosen:
        raise BadInput("ADMIN_PORT is 0, so the admin chose a free port: pass that with --port", accepted=["--port"])
    return local_url(found.admin_host, chosen) + found.admin_prefix


def token(
    name: Annotated[str, typer.Argument(help="Who it is for; the audit log shows this name.")],
    role: Annotated[
        str | None, typer.Option(help="viewer (reads), operator (reads and changes) or reader (only data).")
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(metavar="IDS", help="With the role reader: it sees only these users' characters: 7,8."),
    ] = None,
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
        for option, value in (("--role", role), ("--users", users)):
            if value is not None:
                raise typer.BadParameter("it cannot be combined with --revoke", param_hint=option)
        _revoke(name)
        return
    _make(name, role, _user_ids(users, role))


def _user_ids(text: str | None, role: str | None) -> list[int]:
    if text is None:
        return []
    if role != READER:
        raise typer.BadParameter(f"only a token with the role {READER} has users", param_hint="--users")
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise typer.BadParameter(f"{text!r:.80} is invalid (allowed: ids such as 7,8)", param_hint="--users")
    return [int(word) for word in words]


def _make(name: str, role: str | None, users: Sequence[int]) -> None:
    if role not in ROLES:
        problem = "no role is given" if role is None else f"{role!r} is not a role"
        raise typer.BadParameter(f"{problem} (allowed: {', '.join(ROLES)})", param_hint="--role")
    secret = new_token()
    try:
        entry = token_entry(name, role, secret, users)
    except WrongValue as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"Token (shown only once): {secret}")
    typer.echo(f"Add to NOMAD_ADMIN_TOKENS:  {entry.entry}")


def _revoke(name: str) -> None:
    from ..store import AdminSessions
    from ..store.local_token import NAME, TOKEN_FILE, replace_token

    found = settings()
    if not found.admin_tokens and name == NAME:
        with audited(found, "DELETE", "tokens", NAME):
            replace_token(found.var_dir)
        path = found.var_dir / TOKEN_FILE
        typer.echo(f"{path} contains a new token. The old token, its links and its sessions no longer work.")
        return
    entry = _entry(found, name)
    with open_database(found) as (database, why):
        if database is None:
            raise Unavailable(f"the token is not revoked: {why}")
        with audited(found, "DELETE", "tokens", entry.name):
            is_new = AdminSessions(database, clock=SystemClock()).revoke(entry.digest, entry.name, who())
    done = "is revoked" if is_new else "was revoked before"
    typer.echo(f"The token of {entry.name} {done}, and its sessions have ended.")


def _entry(found: Settings, text: str) -> AdminToken:
    """Return an entry by its name, its full text or its token. No error quotes the text, since that may be a token."""
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
    except WrongValue as error:
        names = [entry.name for entry in found.admin_tokens]
        configured = ", ".join(names) or "none is set"
        allowed = f"a name in it: {configured}; or a full entry, name:role:sha256[:users]"
        raise BadInput(f"NOMAD_ADMIN_TOKENS has no such entry (allowed: {allowed})", accepted=names) from error
