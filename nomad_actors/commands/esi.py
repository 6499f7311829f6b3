"""`nomad esi`: show what stops requests to ESI and SSO, and compare our routes with CCP's documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ..clock import SystemClock
from ..errors import Unavailable
from ..settings.contact import require_contact
from .exits import ExitCode
from .options import Json
from .report import ago, console, moment, now_ms, print_json, print_line, table
from .session import settings

if TYPE_CHECKING:
    from ..esi.limits import LimitsState
    from ..esi.spec_check import SpecCheck


group = typer.Typer(help="Show the limits of ESI and SSO: what is stopped, why and until when.")


@group.callback(invoke_without_command=True)
def esi(context: typer.Context, json: Json = False) -> None:
    """Show the limits of ESI and SSO: what is stopped, why and until when. All of it ends by itself."""
    if context.invoked_subcommand is not None:
        return
    from ..esi.limits import open_limiter

    state = open_limiter(settings(), SystemClock()).state()
    if json:
        print_json(state.as_json())
        return
    _print(state)


@group.command()
def check(json: Json = False) -> None:
    """Compare our routes with CCP's documents now, as the schedule does weekly; the exit code is 1 if they differ."""
    from ..app import open_esi
    from ..esi import EsiError, http_session
    from ..esi.limits import open_limiter
    from ..esi.spec_check import check as compare

    current, clock = settings(), SystemClock()
    require_contact(current)
    limiter = open_limiter(current, clock)
    try:
        found = compare(open_esi(current, clock, limiter, http_session(current.esi_user_agent)), limiter.client, clock)
    except EsiError as error:
        raise Unavailable(str(error)) from error
    if json:
        print_json(found.as_json())
    else:
        _print_check(found)
    raise typer.Exit(ExitCode.FAILED if found.differences else ExitCode.OK)


def _print_check(found: SpecCheck) -> None:
    print_line(f"We use compatibility date {found.compatibility_date}; CCP's newest is {found.newest_date}.")
    for each in found.differences or ["CCP's documents and our routes agree: freshness, rate groups and cache modes."]:
        print_line(each)


def _print(state: LimitsState) -> None:
    now = now_ms()
    reset = f", reset {ago(state.errors_reset_ms, now)}" if state.errors_reset_ms else ""
    print_line(
        f"Requests under way: {state.under_way} to ESI, {state.sso_under_way} to SSO. "
        f"Errors that ESI still allows: {state.errors_remaining}{reset}."
    )
    if not state.brakes:
        print_line("No brake is in force.")
    else:
        rows = [
            [
                brake.name,
                ago(brake.since_ms, now),
                f"{moment(brake.until_ms)}{', then one probe' if brake.probes else ''}",
                brake.reason,
            ]
            for brake in state.brakes
        ]
        console().print(table(["BRAKE", "SINCE", "UNTIL", "REASON"], rows))
    if state.starving:
        starved = [
            [bucket.name, f"{bucket.used}", f"{bucket.held}", ago(bucket.starved_ms, now) if bucket.starved_ms else ""]
            for bucket in state.starving
        ]
        console().print(table(["BUCKET WITHOUT ROOM", "SPENT", "HELD", "LAST"], starved, right=("SPENT", "HELD")))
