"""`nomad login`: log a character in."""

from __future__ import annotations

from typing import Annotated

import typer


def login(
    user_id: Annotated[int, typer.Option(help="The user that the character belongs to.")] = 1,
    port: Annotated[int, typer.Option(help="The port of the callback URL that is registered at CCP.")] = 8017,
) -> None:
    """Log a character in: print the address to open, wait for the login, and store it encrypted."""
    from .. import logs
    from ..app import create_app
    from ..processes.program import settings_or_exit
    from .report import print_line
    from .sso_login import ALL_SCOPES, log_in

    with settings_or_exit() as settings:
        logs.configure(settings.log_format, settings.log_level)
        if not settings.eve_client_id:
            raise typer.BadParameter(
                f"EVE_CLIENT_ID is not set: register an application at CCP with the callback "
                f"http://127.0.0.1:{port}/callback and the scopes that you want, then set its client id"
            )
        application = create_app(settings)
    try:
        character = log_in(application, user_id=user_id, port=port, scopes=ALL_SCOPES, show=print_line)
    finally:
        application.close()
    print_line(f"{character} is logged in.")
