"""Gunicorn's worker for an admin that anybody may connect to: one thread moves all bytes, few others answer.

A thread of the pool gets a request once all of it is there, and gives its whole answer away. So a client that sends
slowly or nothing, does not read, or does not hang up costs a connection and no thread. Connections are bounded too:
when there are too many, or they hold too much, the one that has kept us waiting longest is closed, of the peer that has
the most of them.
"""

from __future__ import annotations

import collections
import contextlib
import os
import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gunicorn.http import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.errors import NoMoreData  # type: ignore[import-untyped]
from gunicorn.http.wsgi import create  # type: ignore[import-untyped]
from gunicorn.workers import base  # type: ignore[import-untyped]

from nomad_actors import log

from .connection import Connection, Phase
from .incoming import Step, Taken

logger = log.get_logger("admin")

#: More than an admin's users and scrapers need; fewer where the process may open fewer files.
MOST_CONNECTIONS = 500
#: What requests that have not come whole, and answers that are not taken on, may hold together.
MOST_HELD_BYTES = 64 * 1024 * 1024
#: How long a stopping worker waits for requests that are under way.
STOPPING_SECONDS = 1.0
#: Who holds less is not looked at twice.
_LITTLE_BYTES = 64 * 1024
_ACCEPTS_A_TURN = 16
_LOOK_SECONDS = 0.2
_TOLD_SECONDS = 60.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_LARGE_HEAD = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Answer:
    """Takes what gunicorn would send, in the place of a socket."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        """Keep it."""
        self._parts.append(bytes(data))

    def gettimeout(self) -> float:
        """Return that nothing is waited for."""
        return 0.0

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self._parts)


class Worker(base.Worker):  # type: ignore[misc]
    """Serves requests of HTTP/1 from the listeners that it is given."""

    def init_process(self) -> None:
        """Begin, in the process that serves."""
        self._selector = selectors.DefaultSelector()
        self._pool = ThreadPoolExecutor(self.cfg.threads, "admin")
        self._connections: set[Connection] = set()
        #: Answers that threads have ready; a byte through the pair of sockets wakes the loop for them.
        self._answered: deque[tuple[Connection, bytes, bool]] = deque()
        self._wake, self._woken = socket.socketpair()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, files // 2)
        self._server = self.sockets[0].getsockname()
        self._accepts = False
        self._look_mono = self._told_mono = self._accept_mono = 0.0
        super().init_process()

    def run(self) -> None:
        """Serve until it is told to stop, then let what is under way finish."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._take_answers)
        # A signal's byte.
        self._selector.register(self.PIPE[0], selectors.EVENT_READ, lambda: os.read(self.PIPE[0], 4096))
        while self.alive and self.ppid == os.getppid():
            has_room = len(self._connections) < self._most or self._victim() is not None
            self._accept_if(has_room and time.monotonic() >= self._accept_mono)
            self._turn()
        self._accept_if(False)
        self._finish()
        self._pool.shutdown(wait=False)
        for listener in self.sockets:
            listener.close()

    def _turn(self, seconds: float = 1.0) -> None:
        """Wait for something to do, and do it."""
        self.notify()
        wait = _LOOK_SECONDS if self._connections else seconds
        for key, _ in self._selector.select(wait):
            key.data()
        now_mono = time.monotonic()
        if now_mono >= self._look_mono:
            self._look_mono = now_mono + _LOOK_SECONDS
            for connection in [each for each in self._connections if each.is_overdue(now_mono)]:
                self._guarded(self._give_up, connection)

    def _finish(self) -> None:
        """Let requests that have begun to arrive come, and answers be sent, for a while."""
        begun_mono = time.monotonic()
        while self._connections:
            took = time.monotonic() - begun_mono
            if took > self.cfg.graceful_timeout:
                break
            for connection in list(self._connections):
                if connection.phase is Phase.READING and took > STOPPING_SECONDS:
                    self._drop(connection)
            self._turn()
        for connection in list(self._connections):
            self._drop(connection)

    def _accept_if(self, accepts: bool) -> None:
        if accepts == self._accepts:
            return
        self._accepts = accepts
        for listener in self.sockets:
            if accepts:
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ, self._accepting(listener))
            else:
                self._selector.unregister(listener)

    def _accepting(self, listener: Any) -> Callable[[], None]:
        def accept() -> None:
            for _ in range(_ACCEPTS_A_TURN):
                try:
                    sock, address = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    return
                except OSError:
                    # No more files may be opened, here or on this host: it is tried again a little later.
                    if not self._make_room():
                        self._accept_mono = time.monotonic() + _LOOK_SECONDS
                    return
                if len(self._connections) >= self._most:
                    self._make_room()
                connection = Connection(sock, address, time.monotonic())
                self._connections.add(connection)
                self._listen_to(connection, selectors.EVENT_READ, self._receive)

        return accept

    def _make_room(self, beside: Connection | None = None) -> bool:
        """Close the connection that is waited for longest; return whether there was one."""
        victim = self._victim(beside)
        if victim is None:
            return False
        now_mono = time.monotonic()
        if now_mono >= self._told_mono:
            self._told_mono = now_mono + _TOLD_SECONDS
            open_ones = len(self._connections)
            logger.warning("clients that keep us waiting are cut off", peer=victim.peer, connections=open_ones)
        self._drop(victim)
        return True

    def _bound_memory(self, connection: Connection) -> None:
        if connection.held_bytes <= _LITTLE_BYTES:
            return
        if sum(each.held_bytes for each in self._connections) > MOST_HELD_BYTES:
            self._make_room(beside=connection)

    def _victim(self, beside: Connection | None = None) -> Connection | None:
        """Return who keeps us waiting longest, of the peer with the most connections; None while nobody does."""
        waited_for = [each for each in self._connections if each.phase is not Phase.WORKING and each is not beside]
        crowds = collections.Counter(each.peer for each in self._connections)
        return max(waited_for, key=lambda each: (crowds[each.peer], -each.since_mono), default=None)

    def _receive(self, connection: Connection) -> None:
        goes_on = connection.receive()
        incoming = connection.incoming
        if connection.phase is Phase.ENDING:
            if not goes_on:
                self._drop(connection)
        elif incoming.step is Step.WHOLE or (not goes_on and incoming.step is Step.BODY):
            self._hand_over(connection)
        elif incoming.head_is_too_large:
            self._tell(connection, _LARGE_HEAD, keep=False)
        elif not goes_on:
            self._drop(connection)
        else:
            if incoming.step is Step.BODY and incoming.expects_continue:
                incoming.expects_continue = False
                connection.sock.send(_CONTINUE)
            self._bound_memory(connection)

    def _give_up(self, connection: Connection) -> None:
        """End what has taken too long; of a request what is there may do."""
        step = connection.incoming.step
        if connection.phase is not Phase.READING or step is Step.NOTHING:
            self._drop(connection)
        elif step is Step.HEAD:
            self._tell(connection, _SLOW, keep=False)
        else:
            self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        """Let a thread answer the request that has come."""
        self._listen_to(connection, 0, self._receive)
        connection.enter(Phase.WORKING, time.monotonic())
        taken = connection.incoming.take()

        def answer() -> None:
            told, keep = b"", False
            try:
                told, keep = self._answer(taken, connection.address)
            finally:
                self._answered.append((connection, told, keep))
                self._wake_up()

        self._pool.submit(answer)

    def _wake_up(self) -> None:
        # Full of such bytes it wakes the loop just as well.
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b"\0")

    def _take_answers(self) -> None:
        self._woken.recv(4096)
        while self._answered:
            connection, told, keep = self._answered.popleft()
            if connection in self._connections:
                self._guarded(self._tell, connection, told, keep=keep)

    def _tell(self, connection: Connection, answer: bytes, *, keep: bool) -> None:
        connection.give(answer)
        connection.keeps_open = keep and self.alive
        connection.enter(Phase.SENDING, time.monotonic())
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        if not connection.send(time.monotonic()):
            self._listen_to(connection, selectors.EVENT_WRITE, self._send)
            self._bound_memory(connection)
            return
        if connection.keeps_open:
            connection.enter(Phase.READING, time.monotonic())
            if connection.incoming.step is Step.WHOLE:
                self._hand_over(connection)
                return
        else:
            connection.enter(Phase.ENDING, time.monotonic())
            connection.sock.shutdown(socket.SHUT_WR)
        self._listen_to(connection, selectors.EVENT_READ, self._receive)

    def _listen_to(self, connection: Connection, events: int, act: Callable[[Connection], None]) -> None:
        """Have `act` called when a connection can be read or written; for no events it is let be."""
        if connection.sock in self._selector.get_map():
            self._selector.unregister(connection.sock)
        if events:
            self._selector.register(connection.sock, events, lambda: self._guarded(act, connection))

    def _guarded(self, act: Callable[..., None], connection: Connection, *more: Any, **named: Any) -> None:
        try:
            act(connection, *more, **named)
        except OSError:
            # The client is gone.
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._listen_to(connection, 0, self._receive)
        self._connections.discard(connection)
        connection.close()

    def _answer(self, taken: Taken, address: tuple[str, int]) -> tuple[bytes, bool]:
        """Return the answer to a request, in a thread of the pool, and whether another may follow it."""
        answer, request = Answer(), None
        try:
            request = next(RequestParser(self.cfg, iter((taken.raw,)), address))
            # It was told already, where it was waited for.
            request._expected_100_continue = False
            response, environ = create(request, answer, address, self._server, self.cfg)
            environ["wsgi.multithread"] = True
            if taken.is_last or not self.alive:
                response.force_close()
            parts = self.wsgi(environ, response.start_response)
            try:
                for part in parts:
                    response.write(part)
                response.close()
            finally:
                if hasattr(parts, "close"):
                    parts.close()
            return answer.whole(), not response.should_close()
        except (NoMoreData, StopIteration):
            return b"", False
        except Exception as error:
            failed = Answer()
            self.handle_error(request, failed, address, error)
            return failed.whole(), False
