"""The metrics of ESI's limits and of how current the data is, read at each scrape (docs/metrics.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from ..esi import ROUTES
from ..esi.limits import BrakeKind, LimitsState
from ..esi.spec_check import SpecCheck
from ..metrics.exposition import gauge

_GROUPS = sorted({route.rate_group for route in ROUTES.values() if route.rate_group})


def limits_families(state: LimitsState, checked: SpecCheck | None, now_ms: int) -> Iterable[Metric]:
    """Return the metrics of brakes, buckets and the error limit; each kind and group has a value from the start."""
    ages = dict.fromkeys(map(str, BrakeKind), 0.0)
    for brake in state.brakes:
        ages[brake.kind] = max(ages.get(brake.kind, 0.0), (now_ms - brake.since_ms) / 1000)
    starving = dict.fromkeys(_GROUPS, 0) | Counter(bucket.group for bucket in state.starving)
    shares = dict.fromkeys(_GROUPS, 0.0)
    for bucket in state.busy:
        shares[bucket.group] = max(shares.get(bucket.group, 0.0), bucket.share)
    brakes = gauge(
        "nomad_esi_brake_seconds", "How long the oldest brake of a kind has been in force; 0 if none is.", "kind"
    )
    without_room = gauge("nomad_esi_buckets_starving", "Buckets that had no room within 15 minutes.", "group")
    fullest = gauge("nomad_esi_bucket_used_ratio", "The share of tokens that the fullest bucket has spent.", "group")
    for family, values in ((brakes, ages), (without_room, starving), (fullest, shares)):
        for label, value in sorted(values.items()):
            family.add_metric([label], value)
    remaining = GaugeMetricFamily(
        "nomad_esi_errors_remaining",
        "Errors that ESI still allows in this window, as all processes count them.",
        value=state.errors_remaining,
    )
    drift = gauge("nomad_esi_drift", "Differences between CCP's documents and our routes, by the last weekly check.")
    if checked is not None:
        drift.add_metric([], len(checked.differences))
    return brakes, without_room, fullest, remaining, drift


def data_families(late: Mapping[str, int], refused: Mapping[str, int], rejected_logins: int) -> Iterable[Metric]:
    """Return the metrics of routes that are late or refused, by route, and of logins that SSO rejects."""
    overdue = gauge(
        "nomad_esi_overdue_routes", "Characters for which a polled route's refresh is overdue by 15 minutes.", "dataset"
    )
    refusals = gauge(
        "nomad_esi_refusals",
        "Characters for which ESI refuses a route or cannot answer it, so nothing is sent.",
        "dataset",
    )
    for name, route in ROUTES.items():
        overdue.add_metric([route.dataset], late.get(name, 0))
        refusals.add_metric([route.dataset], refused.get(name, 0))
    rejected = GaugeMetricFamily(
        "nomad_logins_rejected", "Logins that SSO first rejected within a day.", value=rejected_logins
    )
    return overdue, refusals, rejected
