"""A proxy to Redis that delays every reply and counts round trips."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self


class SlowLine:
    """Forwards to a port during the `with` block; each reply is delayed by `delay_seconds`."""

    def __init__(self, target_port: int) -> None:
        self.delay_seconds = 0.0
        #: Round trips: how often a connection sent a request after a reply.
        self.trips = 0
        self._target_port = target_port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        """The URL of Redis through this proxy."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [client, server]
                answered = threading.Event()
                answered.set()
                threading.Thread(target=self._forward_requests, args=(client, server, answered), daemon=True).start()
                threading.Thread(target=self._forward_replies, args=(server, client, answered), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while asked := client.recv(1 << 16):
                self.trips += answered.is_set()
                answered.clear()
                server.sendall(asked)

    def _forward_replies(self, server: socket.socket, client: socket.socket, answered: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while response := server.recv(1 << 16):
                time.sleep(self.delay_seconds)
                answered.set()
                client.sendall(response)
