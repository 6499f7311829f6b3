"""Streams of rows: read, encoded and sent in chunks, so that any number of rows takes the memory of a few hundred."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nomad_actors import logs
from nomad_actors.errors import NomadError, Unavailable

from .encoders import Encoder

logger = logs.get_logger("admin")

#: About 150 KB of text.
CHUNK_ROWS = 500
#: Half of the server's threads: the others answer meanwhile.
MAX_STREAMS = 4
_slots = threading.BoundedSemaphore(MAX_STREAMS)


def chunks_of(rows: Iterable[Any], encoder: Encoder) -> Iterator[str]:
    """Yield the text of the rows in parts; always at least one."""
    remaining = iter(rows)
    yield encoder.head() + encoder.encode(itertools.islice(remaining, CHUNK_ROWS))
    while chunk := list(itertools.islice(remaining, CHUNK_ROWS)):
        yield encoder.encode(chunk)


class Stream:
    """A stream that is being sent, of which at most `MAX_STREAMS` are at a time; `close` frees its slot.

    If reading fails, or if `check` raises after it, the rows read last are not sent and the connection is cut, so that
    no client takes the part for the whole. Raises `Unavailable` if there is no slot.
    """

    def __init__(
        self, chunks: Iterator[str], *, encoder: Encoder, check: Callable[[], object], request_id: str
    ) -> None:
        if not _slots.acquire(blocking=False):
            raise Unavailable(f"{MAX_STREAMS} streams are being sent already (allowed: {MAX_STREAMS} at a time)")
        self._chunks = chunks
        self._encoder = encoder
        self._check = check
        self._request_id = request_id

    def parts(self) -> Iterator[str]:
        """Yield the texts.

        Raises `ConnectionAbortedError` if it fails, at which the server closes the connection.
        """
        try:
            for chunk in self._chunks:
                self._check()
                yield chunk
        except Exception as error:
            # Logged here, since the request's own error handling has ended.
            logger.error(
                "a stream of data was cut", request_id=self._request_id, error=str(error), exc_info=_bug(error)
            )
            if last := self._encoder.failure(_described(error)):
                yield last
            raise ConnectionAbortedError("the stream cannot be completed") from error

    def close(self) -> None:
        _slots.release()


def _described(error: Exception) -> dict[str, Any]:
    if not isinstance(error, NomadError):
        return {"status": 500, "detail": "the admin failed; see its log for the cause"}
    return {"status": int(error.http_status), "detail": logs.redact(str(error))}


def _bug(error: Exception) -> Exception | None:
    return None if isinstance(error, NomadError) else error
