"""ESI and SSO: brakes that stay, the error limit, buckets without room, rejected logins, and data that is late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from .. import thresholds
from ..esi import ROUTES
from ..esi.limits import BrakeKind, LimitsState
from ..esi.spec_check import SpecCheck
from ..findings import Finding, Severity
from ..logs.counted import counted
from ..store.logins import Logins
from ..store.route_status import count_late
from .host import current_database
from .installation import Installation
from .stale_routes import moment


def limits(installation: Installation) -> Iterator[Finding]:
    """Report the limits: brakes that last, few errors left, and buckets that have no room."""
    (state, checked), now_ms = installation.esi_limits, installation.clock.now_ms()
    yield Finding("esi limits", Severity.OK, _summary(state))
    yield from (*_brakes(state, now_ms), *_errors(state), *_starving(state), *_drift(checked, now_ms))


def _brakes(state: LimitsState, now_ms: int) -> Iterator[Finding]:
    for brake in state.brakes:
        minutes = (now_ms - brake.since_ms) / 60_000
        if brake.kind == BrakeKind.REFUSED:
            cause = f"SSO has refused this application for {minutes:.0f} min, so no login is refreshed: {brake.reason}"
            fix = "correct EVE_CLIENT_ID and EVE_CLIENT_SECRET, and restart the workers"
            yield Finding("sso", Severity.PROBLEM, cause, fix, runbook="NomadSsoRefusesUs")
        # A brake on one character says nothing about the system.
        elif brake.kind != BrakeKind.REJECTED and minutes * 60 > thresholds.ESI.brake_seconds:
            cause = f"brake {brake.name} has been in force for {minutes:.0f} min: {brake.reason}"
            yield Finding("esi brake", Severity.WARNING, cause, "nomad esi", runbook="NomadEsiBrakeLong")


def _errors(state: LimitsState) -> Iterator[Finding]:
    if state.errors_remaining < thresholds.ESI.errors_remaining:
        cause = f"ESI allows only {state.errors_remaining} more errors in this minute"
        fix = "nomad esi\nnomad failures esi-refresh\nshow which requests fail"
        yield Finding("esi errors", Severity.WARNING, cause, fix, runbook="NomadEsiErrorLimitLow")


def _starving(state: LimitsState) -> Iterator[Finding]:
    for group, count in sorted(Counter(bucket.group for bucket in state.starving).items()):
        cause = f"{counted(count, 'bucket')} of group {group} had no room within 15 minutes"
        yield Finding("esi buckets", Severity.WARNING, cause, "nomad esi", runbook="NomadEsiBucketStarving")


def _drift(checked: SpecCheck | None, now_ms: int) -> Iterator[Finding]:
    """Report differences; before the first weekly check nothing is wrong."""
    if checked is None:
        return
    age_seconds = (now_ms - checked.at_ms) / 1000
    if age_seconds > thresholds.ESI.unchecked_seconds:
        cause = f"our routes have not been compared with CCP's documents for {age_seconds / 604_800:.0f} weeks"
        yield Finding("esi routes", Severity.WARNING, cause, "nomad esi check", runbook="NomadEsiDrift")
    elif checked.differences:
        cause = f"{counted(len(checked.differences), 'difference')} to CCP's documents: {checked.differences[0]}"
        yield Finding("esi routes", Severity.WARNING, cause, "nomad esi check", runbook="NomadEsiDrift")


def _summary(state: LimitsState) -> str:
    names = ", ".join(brake.name for brake in state.brakes[:5])
    brakes = f"{counted(len(state.brakes), 'brake')} in force ({names})" if state.brakes else "no brake is in force"
    return f"{brakes}; {state.errors_remaining} errors allowed; {counted(state.under_way, 'request')} under way"


def data(installation: Installation) -> Iterator[Finding]:
    """Report logins that SSO rejects, and routes whose refresh is overdue."""
    now = moment(installation.clock)
    with current_database(installation) as database:
        if database is None:
            return
        logins = Logins(database, cipher=None, clock=installation.clock)
        rejected = logins.count_rejected()
        late = count_late(database, now, {name: route.scopes for name, route in ROUTES.items()})
    found = [*_rejected(rejected), *_late(late)]
    yield from found or [Finding("esi data", Severity.OK, "no route is overdue")]


def _rejected(count: int) -> Iterator[Finding]:
    if count >= thresholds.ESI.rejected_logins:
        cause = f"SSO began to reject {counted(count, 'login')} within a day"
        fix = "nomad jobs esi-refresh --status delayed\nshows what SSO says"
        yield Finding("logins", Severity.WARNING, cause, fix, runbook="NomadLoginsDying")


def _late(late: Mapping[str, int]) -> Iterator[Finding]:
    if late:
        worst = ", ".join(f"{ROUTES[name].dataset} ({count})" for name, count in Counter(late).most_common(3))
        cause = f"{counted(sum(late.values()), 'route')} of characters are overdue, most of them {worst}"
        yield Finding("esi data", Severity.WARNING, cause, "nomad esi\nnomad queues", runbook="NomadDataLate")
