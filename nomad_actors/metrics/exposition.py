"""Renders a registry in the formats that Prometheus reads."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")


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
