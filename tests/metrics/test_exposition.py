"""Metrics are shown on the loopback, in the format that is asked for."""

from __future__ import annotations

import logging
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from nomad_actors.local_redis import free_port
from nomad_actors.metrics.exposition import render, serve, serve_or_say


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Counter("apples_total", "Apples.", registry=registry).inc(3)
    return registry


def get(port: int, path: str = "/metrics", accept: str = ""):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
    return urllib.request.urlopen(request, timeout=5)


def test_plain_text_is_the_default(registry):
    body, content_type = render(registry, "")
    assert b"apples_total 3.0" in body
    assert content_type.startswith("text/plain")


def test_openmetrics_is_given_to_whom_asks_for_it(registry):
    body, content_type = render(registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    (family,) = text_string_to_metric_families(body.decode())
    assert family.samples[0].value == 3


def test_port_zero_picks_a_free_one_and_the_log_says_which(registry, caplog):
    caplog.set_level(logging.INFO)
    server = serve(0, registry)
    try:
        with get(server.port) as answer:
            assert b"apples_total 3.0" in answer.read()
            assert answer.headers["Content-Type"].startswith("text/plain")
    finally:
        server.close()
    fields = [getattr(r, "nomad_fields", {}) for r in caplog.records]
    assert {"url": f"http://127.0.0.1:{server.port}/metrics"} in fields


def test_another_path_is_not_found(registry):
    server = serve(0, registry)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(server.port, "/")
        assert refused.value.code == 404
        refused.value.close()
    finally:
        server.close()


def test_a_scrape_that_fails_is_answered_and_said(registry, caplog):
    class Faulty(Collector):
        def collect(self):
            raise ZeroDivisionError("a fault of ours")

        def describe(self):
            return ()

    registry.register(Faulty())
    server = serve(0, registry)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(server.port)
        assert refused.value.code == 500
        refused.value.close()
    finally:
        server.close()
    assert "a scrape failed" in caplog.text
    assert "a fault of ours" in caplog.text


def test_a_closed_server_gives_its_port_back(registry):
    server = serve(0, registry)
    port = server.port
    server.close()
    serve(port, registry).close()


def test_a_taken_port_is_named_with_what_to_do(registry):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match=f"{port}.*taken.*NOMAD_METRICS_PORT"):
        serve(port, registry)


def test_a_taken_port_costs_one_line_and_no_more(registry, caplog):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert serve_or_say(port, registry) is None
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert str(port) in record.nomad_fields["error"]


def test_only_the_loopback_is_listened_on(registry):
    server = serve(0, registry)
    try:
        assert server._server.server_address[0] == "127.0.0.1"
    finally:
        server.close()
