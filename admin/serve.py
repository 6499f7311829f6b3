"""Serves the admin with gunicorn: one worker process of eight threads, on a socket that is already ours."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from nomad_actors.errors import CannotStart

from .worker import Worker

THREADS = 8
#: How long a stopping server lets answers finish.
GRACEFUL_SECONDS = 10
#: A worker that does not show life for this long is replaced.
TIMEOUT_SECONDS = 60


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


def serve(
    web: Flask, listener: socket.socket, *, on_ready: Callable[[], None], on_end: Callable[[], None] = lambda: None
) -> None:
    """Answer requests until SIGTERM or SIGINT, then let those at hand finish.

    Calls `on_ready` once it answers and `on_end` when it no longer does, in the process that answers.
    """
    Server(web, listener, on_ready, on_end).run()


class Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with our settings alone: no file, environment or command line changes them."""

    def __init__(
        self, web: Flask, listener: socket.socket, on_ready: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        self._web = web
        self._listener = listener
        self._on_ready = on_ready
        self._on_end = on_end
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        chosen: dict[str, Any] = {
            # Gunicorn closes the number it is given.
            "bind": f"fd://{os.dup(self._listener.fileno())}",
            "worker_class": Worker,
            "workers": 1,
            "threads": THREADS,
            "timeout": TIMEOUT_SECONDS,
            "graceful_timeout": GRACEFUL_SECONDS,
            "logger_class": OurLogger,
            "control_socket_disable": True,
            # The guard takes the peer's word for nothing.
            "forwarded_allow_ips": "",
            "post_worker_init": lambda _worker: self._on_ready(),
            "worker_exit": lambda _arbiter, _worker: self._on_end(),
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return what answers the requests."""
        return self._web

    def run(self) -> None:
        """Serve until stopped; gunicorn leaves by `SystemExit`, whose code tells whether it was asked to."""
        parent = os.getpid()
        try:
            super().run()
        except SystemExit as end:
            # Its worker was forked inside `run` and passes here too: that process ends for good.
            if end.code or os.getpid() != parent:
                raise


class OurLogger(Logger):  # type: ignore[misc]
    """Gunicorn's lines in our form: no handlers of its own, and only what an operator must know."""

    def setup(self, cfg: Any) -> None:
        """Let the root logger's handler write them."""
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Say nothing: a line a request is no news."""
