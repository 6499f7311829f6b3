"""`nomad esi`: show what stops requests to ESI and SSO, lift a brake, and compare our routes with CCP's documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..clock import SystemClock
from ..errors import ExitCode, Unavailable, UnknownBrake
from ..settings.contact import require_contact
from .audited import audited
from .options import Json, Yes, confirm
from .report import ago, console, duration, now_ms, print_json, print_line, print_result, table
from .session import settings

if TYPE_CHECKING:
    from ..esi.limits import BrakeState, Bucket, Limiter, LimitsState
    from ..esi.spec_check import SpecCheck

group = typer.Typer(help="Show what stops requests to ESI and SSO; lift a brake.", invoke_without_command=True)


@group.callback()
def esi(context: typer.Context, json: Json = False) -> None:
    """Show the limits of ESI and SSO: what is stopped, why and until when."""
    if context.invoked_subcommand is not None:
        return
    state = _limiter().state()
    if json:
        print_json(state.as_json())
        return
    _print(state)


@group.command()
def lift(name: Annotated[str, typer.Argument(metavar="BRAKE")], yes: Yes = False, json: Json = False) -> None:
    """Lift a brake before its time. The next failure sets it again."""
    limiter = _limiter()
    brakes = {each.name: each for each in limiter.state().brakes}
    if name not in brakes:
        raise UnknownBrake(name, brakes)
    confirm(
        f"Lift {name} ({brakes[name].reason})? It stops {brakes[name].stops}. Requests start again slowly. If the "
        "cause is not gone, CCP may count them against you; the next failure sets the brake again.",
        yes=yes,
    )
    with audited(settings(), "POST", "esi", "brakes", name, "lift"):
        limiter.lift(name)
    print_result({"success": True, "brake": name}, f"{name} is lifted. The next failure sets it again.", json=json)


@group.command()
def forget(yes: Yes = False, json: Json = False) -> None:
    """Forget the rate groups and limits that ESI named; the documented ones count until it does so again."""
    confirm("Forget what ESI said about its rate groups? Until it says so again, the documented limits count.", yes=yes)
    with audited(settings(), "DELETE", "esi", "groups"):
        names = _limiter().forget_groups()
    found = f"Forgot {', '.join(names)}; every process does within a minute." if names else "Nothing had been learnt."
    print_result({"success": True, "groups": names}, found, json=json)


@group.command()
def check(json: Json = False) -> None:
    """Compare our routes with CCP's documents now, as the schedule does weekly; the exit code is 1 if they differ."""
    from ..app import open_esi
    from ..esi import EsiError
    from ..esi.spec_check import check as compare

    current, clock, limiter = settings(), SystemClock(), _limiter()
    require_contact(current)
    try:
        found = compare(open_esi(current, clock, limiter), limiter.client, clock)
    except EsiError as error:
        raise Unavailable(str(error)) from error
    if json:
        print_json(found.as_json())
    else:
        _print_check(found)
    raise typer.Exit(ExitCode.FAILED if found.differences else ExitCode.OK)


def _limiter() -> Limiter:
    from ..esi.limits import open_limiter

    return open_limiter(settings(), SystemClock())


def _lasts(brake: BrakeState, now: float) -> str:
    """Return for how long a brake stops requests: a time, or what ends it."""
    if brake.is_probing:
        return f"probing for {duration(now - brake.until_ms)}"
    return f"{duration(brake.until_ms - now)}{', then one probe' if brake.probes else ''}"


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
                brake.stops,
                ago(brake.since_ms, now),
                _lasts(brake, now),
                f"{brake.stopped:,}",
                brake.reason,
            ]
            for brake in state.brakes
        ]
        console().print(table(["BRAKE", "STOPS", "SINCE", "FOR", "STOPPED", "REASON"], rows, right=("STOPPED",)))
        print_line("What was stopped comes back by itself when the brake ends. Lift it earlier: nomad esi lift BRAKE")
    for brake in state.brakes:
        if brake.remedy:
            print_line(f"{brake.name}: {brake.remedy}.")
    _print_buckets("BUCKET WITHOUT ROOM", state.starving, now)
    _print_buckets("BUCKET, HALF USED OR MORE", [each for each in state.busy if each not in state.starving], now)


def _print_buckets(heading: str, buckets: list[Bucket], now: float) -> None:
    if not buckets:
        return
    rows = [
        [
            bucket.name,
            f"{bucket.used}",
            f"{bucket.held}",
            f"{bucket.limit or '?'}",
            "never" if bucket.starved_ms is None else ago(bucket.starved_ms, now),
        ]
        for bucket in buckets
    ]
    console().print(table([heading, "SPENT", "HELD", "OF", "WITHOUT ROOM"], rows, right=("SPENT", "HELD", "OF")))
