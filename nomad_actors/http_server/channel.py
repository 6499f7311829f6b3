"""One client's connection in waitress, with a deadline for each request and a bound on the bodies of all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel

from .parser import StrictParser

if TYPE_CHECKING:
    from .server import Server

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
    def is_waited_for(self) -> bool:
        """Whether the client must act next: send the rest of a request, or read its response."""
        return not self.requests and not self.will_close

    @property
    def body_bytes(self) -> int:
        """How much was received of bodies whose requests have not been answered."""
        # A thread may remove its request meanwhile.
        requests = [*self.requests, self.request]
        return sum(request.body_bytes_received for request in requests if request is not None)

    def received(self, data: bytes) -> bool:
        """Take what arrived."""
        taken = bool(super().received(data))
        request = self.request
        if request is None:
            self._arriving = None
            return taken
        if request is not self._arriving:
            self._arriving, self._arriving_since = request, time.time()
        self.last_activity = self._arriving_since + request.body_bytes_received / BYTES_A_SECOND
        if request.body_bytes_received:
            self.server.bound_bodies(self)
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
