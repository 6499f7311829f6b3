"""Runs waitress on a listening socket, within limits, until it is stopped."""

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

#: How long a stopping server waits for requests that have begun to arrive.
ARRIVING_SECONDS = 1.0
#: Of a crowd at the door: waitress alone lets in one a turn, and whoever comes last waits for all.
_ACCEPTS_A_TURN = 64
_RETRY_ACCEPT_SECONDS = 0.2
_WARN_SECONDS = 60.0
#: How often it is looked whether the server must stop.
_LOOK_SECONDS = 0.05
#: Each connection may need a file for its request's body and one for the response.
_FILES_PER_CONNECTION = 3


@dataclass(frozen=True)
class Limits:
    """What clients may take of a server."""

    threads: int
    connections: int
    #: The share of the files that the process may open, for connections and their temporary files.
    files_share: float
    #: How long a request may take to arrive, and a response to be read; bodies get more time as they arrive.
    request_seconds: int
    head_bytes: int
    #: One request's body.
    body_bytes: int
    #: The bodies of all requests that have not been answered, and all responses that have not been read.
    held_bytes: int

    def files(self) -> int:
        """Return how many files the process must be able to open for all connections."""
        return int(self.connections * _FILES_PER_CONNECTION / self.files_share)

    def most_connections(self) -> int:
        """Return how many connections there may be in this process."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self.connections
        return max(4, min(self.connections, int(files * self.files_share / _FILES_PER_CONNECTION)))


class HttpServer:
    """Answers requests from `listener` in the thread that calls `run`; several may run in one process."""

    def __init__(self, application: WSGIApplication, listener: socket.socket, limits: Limits, *, name: str) -> None:
        # Said once in our own words when connections are closed; a queue of requests is no news.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        logging.getLogger("waitress").setLevel(logging.WARNING)
        self._map: dict[int, Any] = {}
        self._dispatcher = ThreadedTaskDispatcher()
        self._server = Server(application, self._map, self._dispatcher, listener, limits)
        self._is_stopping = False
        self._stop_seconds = 0.0
        self._ender = threading.Thread(target=self._end, name=f"{name}-stop", daemon=True)

    def run(self) -> None:
        """Answer requests until `stop` is called and what was under way has ended."""
        self._ender.start()
        self._dispatcher.set_thread_count(self._server.adj.threads)
        self._server.run()
        self._ender.join()

    def stop(self, seconds: float) -> None:
        """Accept nothing more, and end once open requests are answered or `seconds` have passed; may be called from a
        signal handler or another thread.
        """
        # Nothing with a lock: a second signal may interrupt the handler of the first while that holds it.
        self._stop_seconds = seconds
        self._is_stopping = True

    def _end(self) -> None:
        while not self._is_stopping:
            time.sleep(_LOOK_SECONDS)
        began_mono = time.monotonic()
        deadline_mono = began_mono + self._stop_seconds
        self._in_loop(lambda: wasyncore.dispatcher.close(self._server))
        while (now_mono := time.monotonic()) < deadline_mono:
            if not self._server.is_busy(arriving=now_mono < began_mono + ARRIVING_SECONDS):
                break
            time.sleep(0.02)
        self._dispatcher.shutdown(timeout=max(0.5, deadline_mono - time.monotonic()))
        with contextlib.suppress(OSError):
            # The loop may have found this with its last look, and closed what it is woken by, before it is woken.
            self._in_loop(lambda: wasyncore.close_all(self._map))

    def _in_loop(self, act: Callable[[], object]) -> None:
        self._server.trigger.pull_trigger(act)


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Waitress' server; when there are too many connections it closes the one that has kept it waiting longest."""

    channel_class = Channel

    def __init__(
        self,
        application: WSGIApplication,
        channels: dict[int, Any],
        dispatcher: ThreadedTaskDispatcher,
        listener: socket.socket,
        limits: Limits,
    ) -> None:
        self._most_connections = limits.most_connections()
        self._most_held_bytes = limits.held_bytes
        self._accept_mono = self._warn_mono = 0.0
        super().__init__(
            application,
            channels,
            _sock=listener,
            dispatcher=dispatcher,
            adj=_adjustments(limits, self._most_connections),
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def readable(self) -> bool:
        """Return whether connections are accepted now."""
        return bool(super().readable()) and time.monotonic() >= self._accept_mono

    def handle_accept(self) -> None:
        """Accept those who wait."""
        for _ in range(_ACCEPTS_A_TURN):
            connections = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == connections:
                return

    def accept(self) -> Any:
        """Accept a connection; None when there is none, or no file can be opened for it."""
        try:
            return super().accept()
        except OSError as error:
            # No file can be opened in this process or on this host: retried a little later, not in a busy loop.
            self._accept_mono = time.monotonic() + _RETRY_ACCEPT_SECONDS
            # Linux says so also when nobody waits: it takes a file first, and then looks for a connection.
            if self._is_waited_for():
                self._close_longest_waiting(None, str(error))
            return None

    def _is_waited_for(self) -> bool:
        """Return whether a connection is waiting to be accepted."""
        asked = select.poll()
        asked.register(self.socket, select.POLLIN)
        return bool(asked.poll(0))

    def bound_connections(self, newest: Channel) -> None:
        """Make room when `newest` is one connection too many."""
        if len(self.active_channels) > self._most_connections:
            self._close_longest_waiting(newest, "too many connections")

    def bound_memory(self, receiving: Channel) -> None:
        """Make room when clients hold too much together; `receiving` goes last."""
        held = {each: each.held_bytes for each in self.active_channels.values() if not each.will_close}
        excess_bytes = sum(each for each in held.values() if each > MEMORY_BYTES) - self._most_held_bytes
        for channel in sorted(held, key=lambda each: (each is receiving, each.last_activity)):
            if excess_bytes <= 0:
                return
            if held[channel] > MEMORY_BYTES and channel.is_idle:
                self._close(channel, "clients hold too much memory")
                excess_bytes -= held[channel]

    def is_busy(self, *, arriving: bool) -> bool:
        """Return whether requests are answered now, or, with `arriving`, have begun to arrive."""
        return any(
            channel.requests or channel.total_outbufs_len or (arriving and channel.request is not None)
            for channel in list(self.active_channels.values())
        )

    def _close_longest_waiting(self, newest: Channel | None, why: str) -> None:
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
            # The loop closes it in its next turn; its number may stand in the list of this one.
            channel.will_close = True


def _adjustments(limits: Limits, most_connections: int) -> Adjustments:
    return Adjustments(
        threads=limits.threads,
        # Never reached while a waiting connection can be closed.
        connection_limit=most_connections + 2 * _ACCEPTS_A_TURN,
        channel_timeout=limits.request_seconds,
        cleanup_interval=1,
        asyncore_use_poll=True,
        backlog=1024,
        max_request_header_size=limits.head_bytes,
        # Waitress refuses what is as large as the limit.
        max_request_body_size=limits.body_bytes + 1,
        # What one connection sends keeps the others waiting for so much at a time.
        recv_bytes=4096,
        inbuf_overflow=MEMORY_BYTES,
        outbuf_overflow=1024 * 1024,
        # The application decides about proxies.
        clear_untrusted_proxy_headers=False,
        log_socket_errors=False,
        ident=None,
    )
