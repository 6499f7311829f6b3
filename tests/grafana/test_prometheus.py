"""Prometheus takes our configuration, and every panel's query finds data in what our services export."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nomad_actors.local_redis import free_port
from nomad_actors.metrics.collector import with_queues
from nomad_actors.metrics.exposition import serve
from nomad_actors.middleware.metrics import DEFAULT_PORT
from nomad_actors.settings import Settings

from .conftest import COUNTS, ROOT, do_some_work, filled_in

CONFIG = ROOT / "prometheus.yml"


def program(name: str) -> str:
    """Return the path of an optional program; skip the test, naming it, when it is missing and may be."""
    found = shutil.which(name)
    if found is None and os.environ.get("NOMAD_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is not installed, and NOMAD_REQUIRE_ALL is set")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_promtool_accepts_the_configuration():
    done = subprocess.run([program("promtool"), "check", "config", str(CONFIG)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_scrapes_the_ports_that_the_services_use():
    text = CONFIG.read_text()
    assert f"127.0.0.1:{DEFAULT_PORT}" in text
    assert f"127.0.0.1:{Settings().admin_port}" in text


class _Prometheus:
    """A Prometheus that scrapes our registry in place of each of the services."""

    def __init__(self, directory: Path, target: int) -> None:
        self.port = free_port()
        config = re.sub(r"127\.0\.0\.1:(?!9090)\d+", f"127.0.0.1:{target}", CONFIG.read_text())
        config = config.replace("127.0.0.1:9090", f"127.0.0.1:{self.port}").replace("15s", "1s")
        (directory / "prometheus.yml").write_text(config)
        self.process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ]
        )

    def ask(self, expression: str) -> list[Any]:
        """Return the answer to a query; nothing while the server is not up."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code != 503:  # What it says while it loads.
                raise
            return []
        except OSError:
            return []


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Prometheus]:
    """A Prometheus that has scraped each service four times, with work between the scrapes."""
    program("prometheus")
    server = serve(0, with_queues(lambda: COUNTS))
    prometheus = _Prometheus(tmp_path_factory.mktemp("prometheus"), server.port)
    try:
        deadline = time.monotonic() + 30
        while len(prometheus.ask("count_over_time(up[1m]) >= 4")) < 4:
            assert time.monotonic() < deadline, "Prometheus has not scraped everything four times within 30 s"
            do_some_work()
            time.sleep(0.1)
        yield prometheus
    finally:
        prometheus.process.kill()
        prometheus.process.wait()
        server.close()


def test_every_panels_query_finds_data(prometheus, expressions):
    empty = []
    for title, expression in expressions:
        values = [float(found["value"][1]) for found in prometheus.ask(filled_in(expression))]
        if not [value for value in values if value == value]:
            empty.append(f"{title}: {expression}")
    assert not empty
