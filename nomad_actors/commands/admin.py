"""`nomad admin`: log in to the admin from the machine that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadInput
from .report import now_ms
from .session import settings

if TYPE_CHECKING:
    from ..settings import Settings

group = typer.Typer(help="Open the admin.", no_args_is_help=True)


@group.callback()
def admin() -> None:
    """Open the admin."""


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
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found.admin_host, found.admin_host)
    return (
        f"http://[{host}]:{chosen}{found.admin_prefix}"
        if ":" in host
        else f"http://{host}:{chosen}{found.admin_prefix}"
    )
