"""A proxy in front of Redis that counts commands and cuts a connection before or after a chosen one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

import hiredis

from ..broker.scripts import scripts


@dataclass(frozen=True)
class Command:
    """One command through the proxy; for EVALSHA and EVAL, `name` is the script's name."""

    name: str
    arguments: list[bytes]
    number: int


Chooser = Callable[[Command], bool]


@dataclass
class FaultProxy:
    """Forwards commands to a Redis port, one command and one reply at a time per connection."""

    target_port: int
    port: int = 0
    seen: list[str] = field(default_factory=list)
    cuts: list[str] = field(default_factory=list)
    _choosers: dict[str, Chooser] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._names = {s.sha: name for name, s in scripts().items()} | {s.source: n for n, s in scripts().items()}
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut_before(self, chooser: Chooser) -> None:
        """Cut the connection at the next chosen command instead of forwarding it, once."""
        with self._lock:
            self._choosers["before"] = chooser

    def cut_after(self, chooser: Chooser) -> None:
        """Let Redis execute the next chosen command, then cut the connection instead of replying, once."""
        with self._lock:
            self._choosers["after"] = chooser

    def forget(self) -> None:
        """Cancel pending cuts."""
        with self._lock:
            self._choosers.clear()

    def close(self) -> None:
        # Shutdown wakes the accepting thread; closing alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._sockets:
                _shut(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                _shut(client)  # Redis is down.
                continue
            for each in (client, server):
                # Replies of a pipeline are forwarded one by one: with Nagle's algorithm each would wait 40 ms.
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        requests, replies = client.makefile("rb"), server.makefile("rb")
        try:
            while (raw := _read_value(requests)) is not None:
                command = self._command(raw)
                if self._must_cut("before", command):
                    break
                server.sendall(raw)
                reply = _read_value(replies)
                if reply is None or self._must_cut("after", command):
                    break
                client.sendall(reply)
        except OSError:
            pass  # One side disconnected: disconnect the other.
        finally:
            # The files first: an open file keeps its socket open.
            requests.close()
            replies.close()
            _shut(client)
            _shut(server)

    def _command(self, raw: bytes) -> Command:
        reader = hiredis.Reader()
        reader.feed(raw)
        words: list[bytes] = reader.gets()
        name = words[0].decode().lower()
        if name in ("evalsha", "eval"):
            name = self._names.get(words[1], name)
        with self._lock:
            self.seen.append(name)
            return Command(name, words[1:], len(self.seen))

    def _must_cut(self, which: str, command: Command) -> bool:
        with self._lock:
            chooser = self._choosers.get(which)
            if chooser is None or not chooser(command):
                return False
            del self._choosers[which]
            self.cuts.append(command.name)
            return True


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It may be shut already.
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def _read_value(stream: BinaryIO) -> bytes | None:
    """Return one RESP2 value as bytes, or None at the end of the stream."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        return None
    kind, size = line[:1], line[1:-2]
    if kind == b"$" and size != b"-1":
        body = stream.read(int(size) + 2)
        return line + body if len(body) == int(size) + 2 else None
    if kind == b"*" and size != b"-1":
        parts = [line]
        for _ in range(int(size)):
            part = _read_value(stream)
            if part is None:
                return None
            parts.append(part)
        return b"".join(parts)
    return line
