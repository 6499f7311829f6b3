"""Reads Redis and the database at each scrape, and exports whether each could be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..logs import get_logger
from ..logs.foreign_text import describe_error

logger = get_logger("nomad_actors.metrics")

#: Reads one source and returns its metrics.
Source = Callable[[], Iterable[Metric]]


class ScrapeCollector(Collector):
    """Reads all sources for every scrape.

    If a source cannot be read, its `nomad_collector_success` is 0 and its metrics are left out: unknown is not zero.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        """Return the collector's own metrics without values, so that registration reads no source."""
        return _own_families()

    def collect(self) -> Iterator[Metric]:
        success, seconds = _own_families()
        found: list[Metric] = []
        for name, source in self._sources.items():
            start_mono = time.monotonic()
            metrics = _read(name, source)
            seconds.add_metric([name], time.monotonic() - start_mono)
            success.add_metric([name], metrics is not None)
            found += metrics or ()
        yield success
        yield seconds
        yield from found


def _read(name: str, source: Source) -> list[Metric] | None:
    try:
        return list(source())
    except Exception as error:
        # Any error: if it were raised, the scrape would fail and lose the good metrics too.
        logger.warning("a source cannot be read for a scrape", source=name, error=describe_error(error))
        return None


def _own_families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    success = "Whether this scrape could read the source; if not, its metrics are missing."
    seconds = "How long this scrape took to read the source."
    return gauge("nomad_collector_success", success, "source"), gauge("nomad_collector_seconds", seconds, "source")


def gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """Return a gauge that has no series yet."""
    return GaugeMetricFamily(name, documentation, labels=labels)
