"""ESI and SSO: limits that are reached, brakes that last, logins that SSO rejects, and data that is late."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from .promql import in_words, number, window
from .rule import CRITICAL, WARNING, Alert, Group

#: SSO refuses this application, which has its own alert; a single character's brake concerns nobody else.
_OTHERS = 'kind!~"refused|rejected"'


def groups(table: Table) -> list[Group]:
    """Return the group about ESI and SSO."""
    rules = [
        _errors(table),
        _starving(table),
        _brake(table),
        _refused(table),
        _logins(table),
        _late(table),
        _at_risk(table),
        _drift(table),
    ]
    return [Group(name="nomad-esi", rules=rules)]


def _errors(table: Table) -> Alert:
    # ESI's window is a minute: between two of them everything is allowed again.
    over = window(table.alerts.errors_window_seconds)
    return Alert(
        name="NomadEsiErrorLimitLow",
        expr=f"min(min_over_time(nomad_esi_errors_remaining[{over}])) < {number(table.esi.errors_remaining)}",
        for_seconds=table.alerts.errors_for_seconds,
        severity=WARNING,
        summary="Requests to ESI fail so often that its error limit is nearly reached.",
        description="""
        ESI allowed only {{ $value }} more errors; at 20, routes without a rate group (orders, public information) are
        not requested. See which requests fail: nomad esi; nomad failures esi-refresh
        """,
    )


def _starving(table: Table) -> Alert:
    return Alert(
        name="NomadEsiBucketStarving",
        expr="max by (group) (nomad_esi_buckets_starving) > 0",
        for_seconds=table.esi.starving_seconds,
        severity=WARNING,
        summary="Characters have no tokens left in a rate group of ESI.",
        description="""
        {{ $value }} buckets of group {{ $labels.group }} have no room, again and again: jobs for these characters are
        deferred. See which: nomad esi
        """,
    )


def _brake(table: Table) -> Alert:
    limit = table.esi.brake_seconds
    return Alert(
        name="NomadEsiBrakeLong",
        expr=f"max by (kind) (nomad_esi_brake_seconds{{{_OTHERS}}}) > {number(limit)}",
        for_seconds=table.alerts.brake_for_seconds,
        severity=WARNING,
        summary="A brake has stopped requests to ESI or SSO for long.",
        description=f"""
        A brake ({{{{ $labels.kind }}}}) has been in force for {{{{ $value | humanizeDuration }}}}, longer than
        {in_words(limit)}; what it stops is deferred. See which and why: nomad esi
        """,
    )


def _refused(table: Table) -> Alert:
    return Alert(
        name="NomadSsoRefusesUs",
        expr='max(nomad_esi_brake_seconds{kind="refused"}) > 0',
        for_seconds=table.alerts.refused_for_seconds,
        severity=CRITICAL,
        summary="SSO refuses this application, so no login is refreshed.",
        description="""
        SSO has refused EVE_CLIENT_ID or EVE_CLIENT_SECRET for {{ $value | humanizeDuration }}: in 20 minutes no access
        token is left. See its words: nomad esi; then correct the settings
        """,
    )


def _logins(table: Table) -> Alert:
    limit = table.esi.rejected_logins
    return Alert(
        name="NomadLoginsDying",
        expr=f"max(nomad_logins_rejected) > {number(limit - 0.5)}",
        for_seconds=table.alerts.logins_for_seconds,
        severity=WARNING,
        summary="SSO rejects many logins.",
        description="""
        SSO began to reject {{ $value }} logins within a day. See what it says:
        nomad jobs esi-refresh --status delayed
        """,
    )


def _late(table: Table) -> Alert:
    return Alert(
        name="NomadDataLate",
        expr="max by (dataset) (nomad_esi_overdue_routes) > 0",
        for_seconds=table.alerts.late_data_for_seconds,
        severity=WARNING,
        summary="Data is older than promised.",
        description=f"""
        {{{{ $labels.dataset }}}} of {{{{ $value }}}} characters should have been refreshed over
        {in_words(table.esi.late_seconds)} ago. See what stops it: nomad esi; nomad queues; nomad doctor
        """,
    )


def _at_risk(table: Table) -> Alert:
    share = table.history.at_risk_share
    return Alert(
        name="NomadHistoryAtRisk",
        expr="max by (data_type) (nomad_history_at_risk_characters) > 0",
        for_seconds=table.alerts.late_data_for_seconds,
        severity=WARNING,
        summary="ESI will soon not show rows that nobody has read.",
        description=f"""
        {{{{ $labels.data_type }}}} of {{{{ $value }}}} characters was not read completely for {share:.0%} of the time
        that ESI shows. What is not read in the rest of it is lost. See why: nomad doctor;
        nomad jobs historical-data --status failed
        """,
    )


def _drift(table: Table) -> Alert:
    return Alert(
        name="NomadEsiDrift",
        expr="max(nomad_esi_drift) > 0",
        for_seconds=table.alerts.drift_for_seconds,
        severity=WARNING,
        summary="CCP has changed what we know about its routes.",
        description="""
        CCP's documents and our table of routes differ in {{ $value }} points. See which: nomad esi check
        """,
    )
