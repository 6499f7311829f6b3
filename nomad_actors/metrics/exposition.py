"""Shows a registry to Prometheus: as the body of an answer, or by a small server of its own."""

from __future__ import annotations

import errno
import re
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..log import get_logger

#: Only this host may ask, unless a setting says otherwise: whoever can reach the port may read the numbers.
LOOPBACK = "127.0.0.1"

_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")

logger = get_logger("nomad_actors.metrics")


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


class MetricsServer:
    """Answers `GET /metrics` on a port of `host` until it is closed."""

    def __init__(self, port: int, registry: CollectorRegistry, host: str) -> None:
        handler = type("Handler", (_Handler,), {"registry": registry})
        self._server = _Server((host, port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="nomad-metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(port: int, registry: CollectorRegistry, host: str = LOOPBACK) -> MetricsServer:
    """Serve `registry` on `port` (0 picks a free one) of `host` in a thread of its own.

    Raises `OSError` naming the port and the setting when it cannot be had.
    """
    try:
        server = MetricsServer(port, registry, host)
    except OSError as error:
        taken = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        message = f"port {port} of {host} for metrics {taken}; set NOMAD_METRICS_PORT to a free one, or to 0"
        raise OSError(error.errno, message) from error
    logger.info("metrics are served", url=f"http://{host}:{server.port}/metrics")
    return server


def serve_or_say(port: int, registry: CollectorRegistry, host: str = LOOPBACK) -> MetricsServer | None:
    """Serve as `serve` does; say so in one line and return None when the port cannot be had: jobs run all the same."""
    try:
        return serve(port, registry, host)
    except OSError as error:
        logger.error("metrics are not served", error=error.strerror)
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a scraper that hangs up early; anything else is an error of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            logger.error("a scrape was not answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    registry: ClassVar[CollectorRegistry]
    #: Seconds that a silent peer may hold a thread.
    timeout = 10

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "only /metrics is here")
            return
        try:
            body, content_type = render(self.registry, self.headers.get("Accept", ""))
        except Exception:
            logger.error("a scrape failed", exc_info=True)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the log says why")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: a scrape every 15 s is no news."""
