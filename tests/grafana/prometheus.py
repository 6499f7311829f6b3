"""A Prometheus with our configuration, the ports of a test's services, and one scrape per second."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from monitoring.alerts.files import texts
from nomad_actors.processes.local_redis import free_port
from nomad_actors.processes.parent import end_with_parent

CONFIG = Path(__file__).parents[2] / "prometheus.yml"

#: An alert that never fires: with it the number of firing alerts is 0, not unknown.
_RULES = {"groups": [{"name": "test", "rules": [{"alert": "Never", "expr": "vector(1) > 2"}]}]}
#: Speeds time up: a day takes 24 s, so the rules record weeks within minutes.
FACTOR = 1 / 3600


def recordings() -> dict[str, str]:
    """Return the recording rules without the alerts, which would fire when sped up."""
    found = {}
    for name, text in texts(factor=FACTOR).items():
        document = yaml.safe_load(text)
        for group in document["groups"]:
            group["rules"] = [rule for rule in group["rules"] if "record" in rule]
        found[name] = yaml.safe_dump(document)
    return found


class Prometheus:
    """The server as a context manager."""

    def __init__(self, program: str, directory: Path, ports: Mapping[str, int]) -> None:
        self.port = free_port()
        config = yaml.safe_load(CONFIG.read_text())
        config["global"].update(scrape_interval="1s", evaluation_interval="1s")
        config["rule_files"] = ["rules.yml", "recorded/*.yml"]
        config.pop("alerting", None)
        for job in config["scrape_configs"]:
            port = {**ports, "prometheus": self.port}[job["job_name"]]
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        (directory / "rules.yml").write_text(yaml.safe_dump(_RULES))
        (directory / "recorded").mkdir()
        for name, text in recordings().items():
            (directory / "recorded" / name).write_text(text)
        self._command = [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=error",
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, preexec_fn=end_with_parent)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of a query, empty while the server is not up. Raises `ValueError` for invalid PromQL."""
        return self._request("query", query=expression).get("result", [])

    def values(self, series: str, label: str) -> list[str]:
        """Return the values of a label, like a Grafana variable queries them."""
        return self._request(f"label/{label}/values", **{"match[]": series})

    def _request(self, path: str, **parameters: str) -> Any:
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # It is still loading.
                return {}
            raise ValueError(json.load(error)["error"]) from error
        except OSError:
            return {}
