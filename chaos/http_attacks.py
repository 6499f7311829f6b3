"""Slow clients of a web server, as a program: `python -m chaos.http_attacks KIND HOST PORT`.

It opens connections, reopens closed ones, and runs until it is killed. It prints a line when the first one is open.
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
#: 0.6 MB in one-byte chunks.
CHUNKS = b"1\r\nx\r\n" * 600_000
#: First bytes of slow clients, and the number of clients.
TRICKLES = {
    "idle": (b"", 2_000),
    "heads": (b"GET /admin/login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 600),
    "bodies": (FORM + b"Content-Length: 5000\r\n\r\n", 600),
}
#: What fast clients send, and the number of clients.
FLOODS = {
    "chunks": (FORM + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, 8),
    "large": (BATCH + b"Content-Length: 8000000\r\n\r\n" + b" " * 7_900_000, 150),
}
KINDS = (*TRICKLES, *FLOODS)


class Attack:
    """One kind of client against one address."""

    def __init__(self, kind: str, host: str, port: int, *, tls: bool) -> None:
        self.kind = kind
        self.address = host, port
        self.tls = ssl._create_unverified_context() if tls else None
        self._has_started = False

    async def run(self, share: float) -> None:
        """Run this share of the clients forever."""
        first, count = (TRICKLES | FLOODS)[self.kind]
        run_client = self._trickle if self.kind in TRICKLES else self._flood
        await asyncio.gather(*(self._repeat(run_client, first) for _ in range(max(2, int(count * share)))))

    async def _repeat(self, run_client: Any, first: bytes) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._once(run_client, first)
            await asyncio.sleep(0.1)

    async def _once(self, run_client: Any, first: bytes) -> None:
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.tls)
        if not self._has_started:
            self._has_started = True
            print("started", flush=True)
        try:
            await run_client(reader, writer, first)
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
    """Return the attack from the command line."""
    kind, host, port, tls, share = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return Attack(kind, host, int(port), tls=tls == "tls").run(float(share))


if __name__ == "__main__":
    asyncio.run(main())
