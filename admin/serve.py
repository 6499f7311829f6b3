"""Serves the admin on an open socket until SIGTERM or SIGINT."""

from __future__ import annotations

import errno
import resource
import signal
import socket
from collections.abc import Callable

from flask import Flask

from nomad_actors import http_server
from nomad_actors.errors import CannotStart
from nomad_actors.http_server import HttpServer, Limits

from .inputs import MAX_BATCH_BYTES, MAX_HEAD_BYTES

LIMITS = Limits(
    threads=8,
    # Far more than users and scrapers need: a crowd of idle connections then does not force constant evictions.
    connections=2_500,
    files_share=0.5,
    request_seconds=15,
    head_bytes=MAX_HEAD_BYTES,
    body_bytes=MAX_BATCH_BYTES,
    held_bytes=8 * MAX_BATCH_BYTES,
)
#: The longest time that a stopping server waits for open requests.
GRACEFUL_SECONDS = 10.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise `CannotStart`; port 0 means a free port."""
    try:
        return http_server.listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem, fix = "is taken", "stop what listens there, or set ADMIN_PORT to a free port or to 0"
        else:
            problem = f"cannot be opened ({error})"
            fix = "set ADMIN_HOST to an address of this host and ADMIN_PORT to a free port"
        raise CannotStart(f"port {port} on {host} {problem}", fix) from error


def serve(web: Flask, listener: socket.socket, *, on_ready: Callable[[], None], graceful_seconds: float) -> None:
    """Serve requests until SIGTERM or SIGINT, then wait up to `graceful_seconds` for open requests.

    Calls `on_ready` as soon as connections are accepted.
    """
    _raise_file_limit()
    server = HttpServer(web, listener, LIMITS, name="admin")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop(graceful_seconds))
    on_ready()
    server.run()


def _raise_file_limit() -> None:
    """Raise the limit of open files to what the connections may need, as far as this host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = LIMITS.files()
    if resource.RLIM_INFINITY not in (soft, hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, needed)), hard))
    elif soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
