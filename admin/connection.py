"""One client's connection: what it does now, since when, and when that has taken too long."""

from __future__ import annotations

import socket
from enum import Enum, auto

from .incoming import Incoming

#: How long a request may take to arrive, and an answer to be taken on; each part that moves gives more.
SECONDS = 15.0
#: A slow line is no silent one: so many bytes of a request give another second.
BYTES_A_SECOND = 50_000
#: How long a client may take to hang up once it has its last answer.
ENDING_SECONDS = 2.0
_CHUNK = 65_536


class Phase(Enum):
    """What a connection does now."""

    #: Its request has yet to arrive.
    READING = auto()
    #: A thread works on its request, or will.
    WORKING = auto()
    #: Its answer has yet to be taken on.
    SENDING = auto()
    #: It has its last answer, and is not closed before that has arrived (RFC 9112, 9.6).
    ENDING = auto()


class Connection:
    """A socket that never blocks."""

    def __init__(self, sock: socket.socket, address: tuple[str, int], now_mono: float) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.address = address
        self.incoming = Incoming()
        self._outgoing = memoryview(b"")
        self.keeps_open = False
        self.enter(Phase.READING, now_mono)

    @property
    def peer(self) -> str:
        """Whose connections are counted together."""
        return self.address[0]

    @property
    def held_bytes(self) -> int:
        """How much memory it holds."""
        return len(self.incoming) + len(self._outgoing)

    def enter(self, phase: Phase, now_mono: float) -> None:
        """Begin with something else."""
        self.phase = phase
        self.since_mono = self.moved_mono = now_mono

    def is_overdue(self, now_mono: float) -> bool:
        """Return whether what it does has taken too long; a thread's work is the thread's affair."""
        match self.phase:
            case Phase.READING:
                return now_mono - self.since_mono > SECONDS + len(self.incoming) / BYTES_A_SECOND
            case Phase.SENDING:
                return now_mono - self.moved_mono > SECONDS
            case Phase.ENDING:
                return now_mono - self.since_mono > ENDING_SECONDS
        return False

    def receive(self) -> bool:
        """Take what has arrived; return whether more may come. Raises `OSError` for a connection that is gone."""
        try:
            data = self.sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return True
        if self.phase is Phase.READING:
            self.incoming.feed(data)
        return bool(data)

    def give(self, answer: bytes) -> None:
        """Have an answer to send."""
        self._outgoing = memoryview(answer)

    def send(self, now_mono: float) -> bool:
        """Send what the client takes; return whether that was all. Raises `OSError` for a connection that is gone."""
        while self._outgoing:
            try:
                sent = self.sock.send(self._outgoing[:_CHUNK])
            except (BlockingIOError, InterruptedError):
                return False
            self._outgoing = self._outgoing[sent:]
            self.moved_mono = now_mono
        return True

    def close(self) -> None:
        """Close it."""
        self.sock.close()
