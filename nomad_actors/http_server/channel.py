"""One client's connection in waitress, with a deadline for each request and a bound on what all hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel

from .parser import StrictParser

if TYPE_CHECKING:
    from .server import Server

#: A request's body beyond this is kept in a temporary file; who holds less is not counted.
MEMORY_BYTES = 16 * 1024
#: A slow line is not a silent one: this many bytes of a body give a request another second to arrive.
BYTES_A_SECOND = 50_000


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection whose `last_activity` is the start of the request that is arriving.

    Waitress closes connections without activity, and counts every byte as activity: one byte a second would keep a
    connection for ever.
    """

    parser_class = StrictParser
    server: Server

    def __init__(self, server: Server, *arguments: Any, **named: Any) -> None:
        self._arriving: StrictParser | None = None
        self._arriving_since = 0.0
        super().__init__(server, *arguments, **named)
        server.bound_connections(self)

    @property
    def is_idle(self) -> bool:
        """Whether the client must act next: send the rest of a request, or read its response."""
        return not self.requests

    @property
    def held_bytes(self) -> int:
        """How much is held of bodies whose requests have not been answered, and of responses that were not read."""
        # A thread may remove its request meanwhile.
        requests = [*self.requests, self.request]
        bodies = sum(request.body_bytes_received for request in requests if request is not None)
        return int(bodies + self.total_outbufs_len)

    def readable(self) -> bool:
        """Return whether more of the client's bytes are wanted; close the connection when that is due."""
        if self.will_close and self.is_idle:
            # Waitress would wait until something can be sent: for ever, to a client that does not read.
            self.handle_close()
            return False
        return bool(super().readable())

    def writable(self) -> bool:
        """Return whether there is something to send; nothing on a connection that is closed.

        The loop asks this after `readable`, and would watch the number of the closed socket; the next connection gets
        that number, and would be closed for it.
        """
        return bool(self.connected and super().writable())

    def received(self, data: bytes) -> bool:
        """Take what arrived."""
        taken = bool(super().received(data))
        request, arriving = self.request, self._arriving
        if request is not None:
            if request is not arriving:
                self._arriving_since = time.time()
            self.last_activity = self._arriving_since + request.body_bytes_received / BYTES_A_SECOND
        self._arriving = request
        # With each request, and with each part of a large body.
        if request is None or request is not arriving or self.held_bytes > MEMORY_BYTES:
            self.server.bound_memory(self)
        return taken

    def del_channel(self, map: dict[int, Any] | None = None) -> None:  # noqa: A002
        """Forget the connection, which is closed, and the file with the body that has not arrived whole."""
        super().del_channel(map)
        if self.request is not None:
            self.request.close()

    def cancel(self) -> None:
        """Give up requests that no thread has taken, when the server stops."""
        super().cancel()
        for request in self.requests:
            request.close()

    def service(self) -> None:
        """Answer a request, in a thread."""
        try:
            super().service()
        except BaseException:
            # Waitress keeps the thread and logs what it raised (SystemExit, say), but forgets the connection.
            self.will_close = True
            self.server.pull_trigger()
            raise
