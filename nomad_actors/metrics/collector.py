"""Reads what Redis and the database hold when a scrape asks for it, and says so when one of them cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..logs import get_logger
from ..logs.foreign_text import describe_error

logger = get_logger("nomad_actors.metrics")

#: Reads one source and returns the metrics of what it holds.
Source = Callable[[], Iterable[Metric]]


class ScrapeCollector(Collector):
    """Exports what the sources hold, read anew for every scrape.

    When one cannot be read, its `nomad_collector_success` is 0 and its numbers are left out: unknown is not zero.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        """Return the collector's own metrics without values, so that registering reads nothing."""
        return _success(), _seconds()

    def collect(self) -> Iterator[Metric]:
        """Read every source and return what it holds."""
        success, seconds = _success(), _seconds()
        found: list[Metric] = []
        for name, source in self._sources.items():
            began = time.monotonic()
            held = _held(name, source)
            seconds.add_metric([name], time.monotonic() - began)
            success.add_metric([name], held is not None)
            found += held or ()
        yield success
        yield seconds
        yield from found


def _held(name: str, source: Source) -> list[Metric] | None:
    try:
        return list(source())
    except Exception as error:
        # Any error: one that left here would fail the whole scrape, good metrics with it.
        logger.warning("not read for a scrape", source=name, error=describe_error(error))
        return None


def _success() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "nomad_collector_success",
        "Whether this scrape could read the source; without, its numbers are missing.",
        labels=["source"],
    )


def _seconds() -> GaugeMetricFamily:
    return GaugeMetricFamily("nomad_collector_seconds", "How long this scrape read the source.", labels=["source"])
