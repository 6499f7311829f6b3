"""Waitress's request parser, but stricter about the end of a request.

If a proxy and a server disagree about where a request ends, one client's bytes can become another client's request
(RFC 9112, 11.2). Ambiguous requests are rejected, or are the last request of their connection.
"""

from __future__ import annotations

import re

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error

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
