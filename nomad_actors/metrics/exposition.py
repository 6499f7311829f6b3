"""The text of a scrape: sources that are read at each scrape, registries, and their format."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..logs import get_logger
from ..logs.foreign_text import describe_error

_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")

logger = get_logger("nomad_actors.metrics")

#: Reads one source and returns its metrics.
Source = Callable[[], Iterable[Metric]]


class ScrapeCollector(Collector):
    """Reads all sources for every scrape; one that fails has a success of 0 and no metrics: unknown is not zero."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        # Without values, so that registration reads no source.
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


def joined(*collectors: Collector) -> CollectorRegistry:
    """Return one registry of several collectors."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry


def render(registry: CollectorRegistry, accept_header: str) -> tuple[bytes, str]:
    """Return the registry's metrics in the format that the `Accept` header asks for, and their content type.

    Formats with an invalid version are ignored, because prometheus_client would fail on them.
    """
    valid = ",".join(each for each in accept_header.split(",") if not _has_bad_version(each))
    encode, content_type = choose_encoder(valid)
    return encode(registry), content_type


def _has_bad_version(media_type: str) -> bool:
    parameters = (part.strip().partition("=") for part in media_type.split(";")[1:])
    return any(name == "version" and not _VERSION.fullmatch(value) for name, _, value in parameters)
