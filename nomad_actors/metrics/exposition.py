"""Writes a registry in the formats that Prometheus reads."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")


def joined(*collectors: Collector) -> CollectorRegistry:
    """Return a registry that shows several as one."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry


def render(registry: CollectorRegistry, accept_header: str) -> tuple[bytes, str]:
    """Return the registry's metrics in the format that the `Accept` header asks for, and their content type.

    A version that is none is read as if none were asked for: prometheus_client would fail by it.
    """
    asked = ",".join(each for each in accept_header.split(",") if not _has_bad_version(each))
    encode, content_type = choose_encoder(asked)
    return encode(registry), content_type


def _has_bad_version(accepted: str) -> bool:
    parameters = (part.strip().partition("=") for part in accepted.split(";")[1:])
    return any(name == "version" and not _VERSION.fullmatch(value) for name, _, value in parameters)
