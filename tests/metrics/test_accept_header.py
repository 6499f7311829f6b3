"""A scraper gets the metrics, whatever its `Accept` header."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter

from nomad_actors.metrics.exposition import render

VERSIONS = [
    "abc",
    "1.x",
    "1.0.0abc",
    "-1",
    "",
    " ",
    '"1.0.0"',
    "٣",
    "1..0",
    "1.0.0.0",
    "9" * 5000,
    "\x00",
    "1.0.0",
    "99",
]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda each: each[:10])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain", "text/html", ""])
@pytest.mark.parametrize("escaping", ["", "; escaping=rubbish", "; escaping=allow-utf-8", ";version=2.0;;=;"])
def test_any_accept_header_gets_the_metrics(version: str, kind: str, escaping: str) -> None:
    registry = CollectorRegistry()
    Counter("nomad_things", "Things.", registry=registry).inc()
    body, content_type = render(registry, f"{kind};version={version}{escaping}, */*;q=0.1")
    assert b"nomad_things_total 1.0" in body
    assert content_type.startswith(("text/plain; version=", "application/openmetrics-text; version="))
    assert content_type.isprintable()
    assert len(content_type) < 200
