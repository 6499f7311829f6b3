"""What a client has sent of its requests: tells when one is whole, and where the next begins; pure.

It only finds the end of a request. What the request says is read by the server's parser, once all of it is there; what
makes no sense here is whole at once, so that the parser says what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from .sizes import MAX_BATCH_BYTES, MAX_HEAD_BYTES

_HEAD_END = b"\r\n\r\n"
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
#: The line that tells a chunk's size, or one of a trailer.
_MOST_OF_A_LINE = 8192


class Step(Enum):
    """How far a request has come."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    WHOLE = auto()


@dataclass(frozen=True)
class Taken:
    """A request as it was sent; the last of its connection where nobody can tell what would follow."""

    raw: bytes
    is_last: bool


class Incoming:
    """The bytes of one connection that no request has taken yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._reset()

    def _reset(self) -> None:
        self._head_end = 0
        self._end: int | None = None
        self._chunks: _Chunks | None = None
        self._is_last = False
        #: The client waits for a word before it sends the body.
        self.expects_continue = False

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def step(self) -> Step:
        """How far the request at hand has come."""
        if self._end is not None and len(self._bytes) >= self._end:
            return Step.WHOLE
        if self._head_end:
            return Step.BODY
        return Step.HEAD if self._bytes else Step.NOTHING

    @property
    def head_is_too_large(self) -> bool:
        """Whether so much came that no end of its head is waited for."""
        return not self._head_end and len(self._bytes) > MAX_HEAD_BYTES

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        searched = max(0, len(self._bytes) - len(_HEAD_END) + 1)
        self._bytes += data
        self._look(searched)

    def take(self) -> Taken:
        """Give the request at hand away, with as much of its body as there is."""
        end = len(self._bytes) if self._end is None else min(self._end, len(self._bytes))
        is_last = self._is_last or self.step is not Step.WHOLE
        taken = Taken(bytes(self._bytes[:end]), is_last)
        del self._bytes[:end]
        self._reset()
        self._look(0)
        return taken

    def _look(self, searched: int) -> None:
        if not self._head_end:
            # Empty lines before a request are passed over (RFC 9112, 2.2).
            if self._bytes.startswith((b"\r", b"\n")):
                del self._bytes[: len(self._bytes) - len(self._bytes.lstrip(b"\r\n"))]
                searched = 0
            found = self._bytes.find(_HEAD_END, searched)
            if found < 0:
                return
            self._head_end = found + len(_HEAD_END)
            self._read_head(bytes(self._bytes[:found]))
        if self._chunks is not None and self._end is None:
            self._end = self._chunks.look(self._bytes)
            self._is_last |= self._chunks.is_malformed
            if self._end is None and len(self._bytes) - self._head_end > MAX_BATCH_BYTES:
                self._end_here()

    def _read_head(self, head: bytes) -> None:
        lengths: list[bytes] = []
        first, *fields = head.split(b"\r\n")
        for line in fields:
            name, _, value = line.partition(b":")
            match name.strip().lower():
                case b"content-length":
                    lengths.append(value.strip())
                case b"transfer-encoding":
                    self._chunks = _Chunks(self._head_end)
                case b"expect":
                    self.expects_continue = first.endswith(b"HTTP/1.1") and value.strip().lower() == b"100-continue"
        if self._chunks is None:
            self._end = self._head_end
        if lengths:
            length = int(lengths[0]) if lengths[0].isdigit() and len(lengths[0]) <= 15 else None
            if self._chunks is not None or len(lengths) > 1 or length is None or length > MAX_BATCH_BYTES:
                # Two ends, an unusable one, or one that is too far: it is answered without its body.
                self._chunks = None
                self._end_here()
            else:
                self._end = self._head_end + length

    def _end_here(self) -> None:
        self._end, self._is_last = len(self._bytes), True


class _Chunks:
    """Finds the end of a chunked body, going on where it stopped."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._left = 0
        self._in_trailer = False
        self.is_malformed = False

    def look(self, data: bytearray) -> int | None:
        """Return where the body ends; None while that is not there. A malformed one ends with what is there."""
        while True:
            if self._left:
                if len(data) < self._at + self._left:
                    return None
                self._at += self._left
                self._left = 0
                if data[self._at - 2 : self._at] != b"\r\n":
                    return self._malformed(data)
            end = data.find(b"\r\n", self._at, self._at + _MOST_OF_A_LINE)
            if end < 0:
                return self._malformed(data) if len(data) - self._at >= _MOST_OF_A_LINE else None
            line = bytes(data[self._at : end])
            self._at = end + 2
            if self._in_trailer:
                if not line:
                    return self._at
                continue
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                return self._malformed(data)
            size = int(match[1], 16)
            # The line break after a chunk belongs to it.
            self._left = size + 2 if size else 0
            self._in_trailer = not size

    def _malformed(self, data: bytearray) -> int:
        self.is_malformed = True
        return len(data)
