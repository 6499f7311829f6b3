"""Serves a registry to Prometheus on a separate port of a worker or scheduler process.

Anyone who reaches the port may send requests, so clients get few connections, little time and a small share of the
process' files. They cannot stop jobs.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from werkzeug import Request, Response

from ..http_server import HttpServer, Limits, listen
from ..logs import get_logger
from ..settings.addresses import host_name, parse_address
from .exposition import render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The default: anyone who can reach the port can read the metrics.
LOOPBACK = "127.0.0.1"
LIMITS = Limits(
    threads=2,
    # Several Prometheus servers and a person with curl; a share of the 1,024 files that most hosts allow.
    connections=32,
    files_share=0.1,
    request_seconds=5,
    head_bytes=16 * 1024,
    body_bytes=0,
    # A few unread responses.
    held_bytes=16 * 1024 * 1024,
)
#: How many ports a process tries, so that all processes of a host find one.
PORTS_TRIED = 100
MAX_PORT = 65535
_CLOSE_SECONDS = 2.0

logger = get_logger("nomad_actors.metrics")


class MetricsApplication:
    """Responds to `GET /metrics`; a name in `Host` must be one of `hosts` or a name without dots.

    Workers and schedulers of a host share a range of ports, and which process has which port is not known. Prometheus
    scrapes all with `?service=workers`, and processes of other services refuse.
    """

    def __init__(self, registry: CollectorRegistry, hosts: Iterable[str], service: str = "") -> None:
        self._registry = registry
        self._service = service
        self._hosts = {host.lower() for host in hosts}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._respond(Request(environ))(environ, start_response)

    def _respond(self, request: Request) -> Response:
        host = request.headers.get("Host", "")
        if not self._is_allowed_host(host):
            detail = f"Host {host[:200]!r} is not allowed (allowed: an address, a name without dots, "
            return Response(f"{detail}NOMAD_METRICS_HOSTS)\n", HTTPStatus.FORBIDDEN)
        if request.path != "/metrics":
            return Response("the only path is /metrics\n", HTTPStatus.NOT_FOUND)
        if request.method not in ("GET", "HEAD"):
            allow = {"Allow": "GET, HEAD"}
            return Response("the only methods are GET and HEAD\n", HTTPStatus.METHOD_NOT_ALLOWED, allow)
        services = parse_qs(request.query_string.decode("latin-1")).get("service", [self._service])
        if services != [self._service]:
            detail = f"this process serves the metrics of {self._service or 'no service'}\n"
            return Response(detail, HTTPStatus.NOT_FOUND)
        try:
            body, content_type = render(self._registry, request.headers.get("Accept", ""))
        except Exception:
            logger.error("a scrape failed", exc_info=True)
            return Response("the log says why\n", HTTPStatus.INTERNAL_SERVER_ERROR)
        return Response(body, content_type=content_type)

    def _is_allowed_host(self, host: str) -> bool:
        # A web page can make its own name point to this host (DNS rebinding), and a browser then sends that name. An
        # address is not a name, and names without a dot are not public.
        name = host_name(host)
        if not name:
            return False
        return name in self._hosts or "." not in name.rstrip(".") or parse_address(name) is not None


class MetricsServer:
    """Serves `registry` in a thread until it is closed, on `port` of `host` or the next free port (0: any free port).

    `hosts` are public names of `host`; a scrape for another `service` is refused. Raises `OSError`, which names the
    ports and the setting, if no port can be used.
    """

    def __init__(
        self,
        port: int,
        registry: CollectorRegistry,
        host: str = LOOPBACK,
        *,
        service: str = "",
        hosts: Sequence[str] = (),
    ) -> None:
        listener = _listen(host, port)
        self.port: int = listener.getsockname()[1]
        application = MetricsApplication(registry, (host, *hosts), service)
        self._server = HttpServer(application, listener, LIMITS, name="nomad-metrics")
        self._thread = threading.Thread(target=self._server.run, name="nomad-metrics", daemon=True)
        self._thread.start()
        logger.info("metrics are served", url=f"http://{host}:{self.port}/metrics")

    def close(self) -> None:
        self._server.stop(_CLOSE_SECONDS)
        self._thread.join()


def serve_or_log(
    port: int, registry: CollectorRegistry, host: str = LOOPBACK, *, service: str = "", hosts: Sequence[str] = ()
) -> MetricsServer | None:
    """Return a `MetricsServer`; if no port can be used, log one line and return None: jobs run without metrics."""
    try:
        return MetricsServer(port, registry, host, service=service, hosts=hosts)
    except OSError as error:
        logger.error("metrics are not served", error=error.strerror)
        return None


def _listen(host: str, port: int) -> socket.socket:
    # Several processes may search at the same time: only one gets a port, the others try the next.
    last = min(port + PORTS_TRIED - 1, MAX_PORT) if port else 0
    for candidate in range(port, last + 1):
        try:
            listener = listen(host, candidate)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port:
                continue
            raise _port_error(
                f"port {candidate} of {host}", f"cannot be used ({error.strerror})", error.errno
            ) from error
        if candidate > port:
            logger.info("ports for metrics are taken: using the next free one", taken=_range(port, candidate - 1))
        return listener
    raise _port_error(f"ports {_range(port, last)} of {host}", "are taken", errno.EADDRINUSE)


def _port_error(ports: str, reason: str, number: int | None) -> OSError:
    return OSError(number, f"{ports} for metrics {reason}; set NOMAD_METRICS_PORT to a free one, or to 0")


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
