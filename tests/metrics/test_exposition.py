"""Metrics are rendered in the requested format."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from nomad_actors.metrics.exposition import render


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Counter("apples_total", "Apples.", registry=registry).inc(3)
    return registry


def test_plain_text_is_the_default(registry):
    body, content_type = render(registry, "")
    assert b"apples_total 3.0" in body
    assert content_type.startswith("text/plain")


def test_openmetrics_is_used_on_request(registry):
    body, content_type = render(registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    (family,) = text_string_to_metric_families(body.decode())
    assert family.samples[0].value == 3
