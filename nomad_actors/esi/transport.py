"""GET requests to ESI. They carry a token, so they go only where the settings say, and nothing of them is kept.

They are sent through urllib3 itself: `requests` around it took half of the processor time of a refresh that changes
nothing (`python -m bench --only not_modified`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import certifi
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from ..errors import NomadError

#: For connecting and for a response. ESI's own inner timeout is 10 s (CCP's incident report of 2025-02-26).
TIMEOUTS_SECONDS = (5, 30)
POOL_SIZE = 32


@dataclass(frozen=True)
class Reply:
    """One response of ESI as it came."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    #: Whether the request had a validator, so that a 304 is possible.
    is_conditional: bool
    #: The access token that was sent, so that no message repeats it.
    token: str = field(repr=False)


class Unanswered(NomadError):
    """Raised for a request without a response; `is_unreachable` if there was no connection at all.

    It names the kind of error only: its cause may quote the request, which contains the token.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.is_unreachable = isinstance(error, (NewConnectionError, ConnectTimeoutError))


class Transport:
    """Sends GET requests to one server; without redirects, cookies, proxies of the environment or retries.

    Thread-safe.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self._base_url = base_url
        self._headers = {"Accept-Encoding": "gzip, deflate", **headers}
        self._pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=POOL_SIZE,
            retries=False,
            timeout=urllib3.Timeout(connect=TIMEOUTS_SECONDS[0], read=TIMEOUTS_SECONDS[1]),
            ca_certs=certifi.where(),
        )

    def get(
        self, path: str, *, headers: Mapping[str, str] | None = None, query: Mapping[str, str] | None = None
    ) -> Reply:
        """Return the response of a GET, whatever its status. Raises `Unanswered`."""
        sent = {**self._headers, **(headers or {})}
        try:
            response = self._pool.request("GET", self._base_url + path, fields=query, headers=sent, redirect=False)
        except (HTTPError, ValueError) as error:
            # ValueError: a header that cannot be sent, with the header in its text.
            raise Unanswered(error) from None
        return Reply(
            status=response.status,
            headers=response.headers,
            content=response.data,
            is_conditional=not {"If-None-Match", "If-Modified-Since"}.isdisjoint(sent),
            token=sent.get("Authorization", "").removeprefix("Bearer "),
        )
