"""`nomad esi`: show what stops requests to ESI and SSO: brakes, the error limit, and buckets without room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from ..clock import SystemClock
from ..errors import Unavailable
from .options import Json
from .report import ago, console, moment, now_ms, print_json, print_line, table
from .session import settings

if TYPE_CHECKING:
    from ..esi.limits import LimitsState


def esi(json: Json = False) -> None:
    """Show the limits of ESI and SSO: what is stopped, why and until when. All of it ends by itself."""
    from ..app import open_limiter

    clock = SystemClock()
    try:
        state = open_limiter(settings(), clock).state()
    except redis.RedisError as error:
        raise Unavailable(f"the limits are in Redis, which does not answer: {error}") from error
    if json:
        print_json(state.as_json())
        return
    _print(state)


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
            [bucket.name, f"{bucket.used}", f"{bucket.held}", ago(bucket.starved_ms, now)] for bucket in state.starving
        ]
        console().print(table(["BUCKET WITHOUT ROOM", "SPENT", "HELD", "LAST"], starved, right=("SPENT", "HELD")))
