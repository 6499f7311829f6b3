"""Runs waitress on a listening socket, with limits, until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import resource
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from .. import logs
from .channel import MEMORY_BYTES, Channel

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

logger = logs.get_logger("nomad_actors.http")

#: How long a stopping server waits for partially received requests.
ARRIVING_SECONDS = 1.0
#: Connections accepted per loop turn; waitress itself accepts only one, so that the last of many would wait long.
_ACCEPTS_PER_TURN = 64
_RETRY_ACCEPT_SECONDS = 0.2
_WARN_SECONDS = 60.0
#: How often the stop flag is checked.
_STOP_POLL_SECONDS = 0.05
#: The connection itself, and temporary files for its request's body and for the response.
_FILES_PER_CONNECTION = 3


@dataclass(frozen=True)
class Limits:
    """Limits for the clients of a server."""

    threads: int
    connections: int
    #: The share of the process's file limit for connections and their temporary files.
    files_share: float
    #: How long a request may take to arrive, and a response to be read; a body gets more time as it arrives.
    request_seconds: int
    head_bytes: int
    #: For one request.
    body_bytes: int
    #: For all bodies of unanswered requests and all unread responses together.
    held_bytes: int

    def files(self) -> int:
        """Return the file limit that the process needs for all connections."""
        return int(self.connections * _FILES_PER_CONNECTION / self.files_share)

    def max_connections(self) -> int:
        """Return the maximum number of connections with this process's file limit."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self.connections
        return max(4, min(self.connections, int(files * self.files_share / _FILES_PER_CONNECTION)))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this machine; port 0 means a free port. Raises `OSError`."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=128)


class HttpServer:
    """Serves `listener` in the thread that calls `run`; several may run in one process."""

    def __init__(self, application: WSGIApplication, listener: socket.socket, limits: Limits, *, name: str) -> None:
        # We log closed connections ourselves, once; a queue of requests is normal.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        logging.getLogger("waitress").setLevel(logging.WARNING)
        self._dispatcher = ThreadedTaskDispatcher()
        self._server = Server(application, self._dispatcher, listener, limits)
        self._is_stopping = False
        self._stop_seconds = 0.0
        self._stopper = threading.Thread(target=self._stop_when_asked, name=f"{name}-stop", daemon=True)

    def run(self) -> None:
        """Serve requests until `stop` is called and open requests have ended."""
        self._stopper.start()
        self._dispatcher.set_thread_count(self._server.adj.threads)
        self._server.run()
        self._stopper.join()

    def stop(self, seconds: float) -> None:
        """Stop accepting connections, and end once open requests are answered or `seconds` have passed.

        May be called from a signal handler or another thread.
        """
        # No locks here: a second signal may interrupt the first one's handler while that holds the lock.
        self._stop_seconds = seconds
        self._is_stopping = True

    def _stop_when_asked(self) -> None:
        while not self._is_stopping:
            time.sleep(_STOP_POLL_SECONDS)
        began_mono = time.monotonic()
        deadline_mono = began_mono + self._stop_seconds
        self._in_loop(lambda: wasyncore.dispatcher.close(self._server))
        while (now_mono := time.monotonic()) < deadline_mono:
            if not self._server.is_busy(arriving=now_mono < began_mono + ARRIVING_SECONDS):
                break
            time.sleep(0.02)
        self._dispatcher.shutdown(timeout=max(0.5, deadline_mono - time.monotonic()))
        with contextlib.suppress(OSError):
            # The loop may already have ended and closed the pipe that wakes it.
            self._in_loop(lambda: wasyncore.close_all(self._server._map))

    def _in_loop(self, act: Callable[[], object]) -> None:
        self._server.trigger.pull_trigger(act)


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Waitress's server; if there are too many connections, it closes the one that has been idle longest."""

    channel_class = Channel

    def __init__(
        self,
        application: WSGIApplication,
        dispatcher: ThreadedTaskDispatcher,
        listener: socket.socket,
        limits: Limits,
    ) -> None:
        self._max_connections = limits.max_connections()
        self._max_held_bytes = limits.held_bytes
        self._accept_mono = self._warn_mono = 0.0
        super().__init__(
            application,
            _sock=listener,
            dispatcher=dispatcher,
            adj=_adjustments(limits, self._max_connections),
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def readable(self) -> bool:
        return bool(super().readable()) and time.monotonic() >= self._accept_mono

    def handle_accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            connections = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == connections:
                return

    def accept(self) -> Any:
        """Accept a connection; None if none is waiting, or if no file can be opened for it."""
        try:
            return super().accept()
        except OSError as error:
            # The process or the host is out of files: retry a little later, not in a busy loop.
            self._accept_mono = time.monotonic() + _RETRY_ACCEPT_SECONDS
            # Linux returns this error even if no connection waits: it allocates the file first.
            if self._has_waiting_connection():
                self._close_longest_idle(None, str(error))
            return None

    def _has_waiting_connection(self) -> bool:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        # Waitress spares connections with a request: a client that stops reading a long response would keep a thread.
        for channel in self.active_channels.values():
            if channel.is_stalled(now - self.adj.channel_timeout):
                channel.will_close = True

    def bound_connections(self, newest: Channel) -> None:
        """Close a connection if `newest` exceeds the limit."""
        if len(self.active_channels) > self._max_connections:
            self._close_longest_idle(newest, "too many connections")

    def bound_memory(self, receiving: Channel) -> None:
        """Close connections while all clients together use too much memory; `receiving` goes last."""
        held = {each: each.held_bytes for each in self.active_channels.values() if not each.will_close}
        excess_bytes = sum(each for each in held.values() if each > MEMORY_BYTES) - self._max_held_bytes
        for channel in sorted(held, key=lambda each: (each is receiving, each.last_activity)):
            if excess_bytes <= 0:
                return
            if held[channel] > MEMORY_BYTES and channel.is_idle:
                self._close(channel, "clients use too much memory")
                excess_bytes -= held[channel]

    def is_busy(self, *, arriving: bool) -> bool:
        """Return whether requests are being answered or, with `arriving`, being received."""
        return any(
            channel.requests or channel.total_outbufs_len or (arriving and channel.request is not None)
            for channel in list(self.active_channels.values())
        )

    def _close_longest_idle(self, newest: Channel | None, why: str) -> None:
        idle = [
            each
            for each in self.active_channels.values()
            if each.is_idle and not each.will_close and each is not newest
        ]
        self._close(min(idle, key=lambda each: each.last_activity, default=newest), why)

    def _close(self, channel: Channel | None, why: str) -> None:
        now_mono = time.monotonic()
        if now_mono >= self._warn_mono:
            self._warn_mono = now_mono + _WARN_SECONDS
            peer = channel.addr[0] if channel is not None else ""
            logger.warning("closed idle connections", why=why, peer=peer, connections=len(self.active_channels))
        if channel is not None:
            # The loop closes it in its next turn; its descriptor may still be in this turn's list.
            channel.will_close = True


def _adjustments(limits: Limits, max_connections: int) -> Adjustments:
    return Adjustments(
        threads=limits.threads,
        # Never reached while an idle connection can be closed.
        connection_limit=max_connections + 2 * _ACCEPTS_PER_TURN,
        channel_timeout=limits.request_seconds,
        cleanup_interval=1,
        asyncore_use_poll=True,
        backlog=1024,
        max_request_header_size=limits.head_bytes,
        # Waitress rejects a body that equals the limit.
        max_request_body_size=limits.body_bytes + 1,
        # Small, because reading from one connection makes the others wait.
        recv_bytes=4096,
        inbuf_overflow=MEMORY_BYTES,
        outbuf_overflow=1024 * 1024,
        # How far the thread of a long response may be ahead of its client.
        outbuf_high_watermark=4 * 1024 * 1024,
        # The application handles proxies.
        clear_untrusted_proxy_headers=False,
        log_socket_errors=False,
        ident=None,
    )
