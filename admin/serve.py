"""Serves the admin on a socket that is already open, until SIGTERM or SIGINT."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from flask import Flask

from nomad_actors.errors import CannotStart
from nomad_actors.http_server import HttpServer, Limits

from .sizes import MAX_BATCH_BYTES, MAX_HEAD_BYTES

LIMITS = Limits(
    threads=8,
    # Far more than an admin's users and scrapers need: a crowd of idle ones then need not be turned over all the time.
    connections=2_500,
    files_share=0.5,
    request_seconds=15,
    head_bytes=MAX_HEAD_BYTES,
    body_bytes=MAX_BATCH_BYTES,
    held_bytes=8 * MAX_BATCH_BYTES,
)
#: How long a stopping server lets requests finish, at most.
GRACEFUL_SECONDS = 10.0


class NoPort(CannotStart):
    """Raised when the admin's port cannot be had; says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises `NoPort`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            found, fix = "is taken", "stop what listens there, or set ADMIN_PORT to a free one, or to 0"
        else:
            found, fix = f"cannot be had ({error})", "set ADMIN_HOST and ADMIN_PORT to what this host has"
        raise NoPort(f"port {port} on {host} {found}", fix) from error


def base_url(listener: socket.socket) -> str:
    """Return the address at which `listener` answers this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_ready_file(path: Path, url: str) -> None:
    """Write the address so that a reader sees all of it or no file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(f"{url}\n", encoding="utf-8")
    unfinished.replace(path)


def serve(web: Flask, listener: socket.socket, *, on_ready: Callable[[], None], graceful_seconds: float) -> None:
    """Answer requests until SIGTERM or SIGINT, then let open ones finish for up to `graceful_seconds`.

    Calls `on_ready` when connections are accepted.
    """
    _open_more_files()
    server = HttpServer(web, listener, LIMITS, name="admin")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop(graceful_seconds))
    on_ready()
    server.run()


def _open_more_files() -> None:
    """Let the process open as many files as its connections may need, where this host allows that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LIMITS.files()
    if resource.RLIM_INFINITY not in (soft, hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, wanted)), hard))
    elif soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
