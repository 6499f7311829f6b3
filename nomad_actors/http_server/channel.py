"""One client's connection in waitress, with a deadline for each request and a memory limit for all of them.

Its parser is stricter than waitress's about the end of a request: if a proxy and a server disagree about that, one
client's bytes can become another client's request (RFC 9112, 11.2). Ambiguous requests are rejected, or are the last
request of their connection.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error

if TYPE_CHECKING:
    from .server import Server

#: A larger request body is stored in a temporary file; connections with less data do not count for the limit.
MEMORY_BYTES = 16 * 1024
#: For this many received bytes of its body, a request gets another second to arrive: slow is not the same as silent.
BYTES_A_SECOND = 50_000
_FOLDED_LINE = re.compile(rb"\r\n[ \t]")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:", re.IGNORECASE)
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
#: Chunk sizes, extensions and trailers may be as large as the body itself, plus this.
CHUNK_OVERHEAD_BYTES = 8 * 1024


class StrictParser(HTTPRequestParser):  # type: ignore[misc]
    """Rejects ambiguous framing; the connection of a rejected or chunked request is closed after the response."""

    error: Error | None

    def received(self, data: bytes) -> int:
        taken = int(super().received(data))
        # A chunk costs as much time as a large part of a body: one-byte chunks would make all clients wait.
        if self.chunked and self.body_bytes_received > 2 * len(self.body_rcv) + CHUNK_OVERHEAD_BYTES:
            self.error = self.error or BadRequest("the body's chunks are too small, or their extensions too large")
            self.completed = True
        return taken

    def parse_header(self, header_plus: bytes) -> None:
        encodings = len(_TRANSFER_ENCODING.findall(header_plus))
        if _FOLDED_LINE.search(header_plus):
            raise ParsingError("a header is folded over several lines")
        if encodings > 1 or (encodings and _CONTENT_LENGTH.search(header_plus)):
            raise ParsingError("the body's length is given twice")
        super().parse_header(header_plus)
        if encodings and not self.chunked:
            raise ParsingError("Transfer-Encoding must be chunked, in HTTP/1.1")
        if self.chunked:
            # Waitress is lenient about chunk extensions, trailers and empty size lines. Buffering proxies send a length
            # instead, so closing the connection costs nothing.
            self.headers["CONNECTION"] = "close"


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection whose `last_activity` is the start of the request that is arriving.

    Waitress closes connections without activity, and counts every byte as activity: one byte a second would keep a
    connection open forever.
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
        """The size of unanswered requests' bodies and of unread responses."""
        # Copied: a thread may remove its request meanwhile.
        requests = [*self.requests, self.request]
        bodies = sum(request.body_bytes_received for request in requests if request is not None)
        return int(bodies + self.total_outbufs_len)

    def is_stalled(self, since: float) -> bool:
        """Return whether its client has read nothing of a response since then, while a thread still sends more."""
        # A thread that writes has the lock, and is about to send.
        if not (self.requests and self.outbuf_lock.acquire(blocking=False)):
            return False
        try:
            return bool(self.total_outbufs_len and self.last_activity < since)
        finally:
            self.outbuf_lock.release()

    def readable(self) -> bool:
        if self.will_close and (self.is_idle or self.total_outbufs_len):
            # Waitress would wait until it can send: forever, if the client does not read.
            self.handle_close()
            return False
        return bool(super().readable())

    def writable(self) -> bool:
        # `readable` may have closed the connection. The loop would watch the closed socket's descriptor, which the next
        # connection gets, and would close that one.
        return bool(self.connected and super().writable())

    def received(self, data: bytes) -> bool:
        taken = bool(super().received(data))
        request, arriving = self.request, self._arriving
        if request is not None:
            if request is not arriving:
                self._arriving_since = time.time()
            self.last_activity = self._arriving_since + request.body_bytes_received / BYTES_A_SECOND
        self._arriving = request
        # Check at each new request, and at each part of a large body.
        if request is None or request is not arriving or self.held_bytes > MEMORY_BYTES:
            self.server.bound_memory(self)
        return taken

    def del_channel(self, map: dict[int, Any] | None = None) -> None:  # noqa: A002
        super().del_channel(map)
        if self.request is not None:
            self.request.close()  # The file with its incomplete body.

    def cancel(self) -> None:
        super().cancel()
        for request in self.requests:
            request.close()

    def service(self) -> None:
        try:
            super().service()
        except BaseException:
            # Waitress keeps the thread and logs the exception (such as SystemExit), but forgets the connection.
            self.will_close = True
            self.server.pull_trigger()
            raise
