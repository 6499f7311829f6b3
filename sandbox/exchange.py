"""One request on its way through the sandbox: who sent it, what it is for, and how it was answered."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, cast

from flask import Response, g

from .access import Caller
from .caching import Snapshot
from .faults import Fault
from .limits import Bucket
from .outages import Outage
from .refresh_load import Load
from .services import Service

#: Who answered: the route itself, one of the limiters, a downtime, SSO's load limit, or a fault.
Origin = Literal["route", "error-limit", "bucket", "downtime", "sso-load", "fault"]


@dataclass
class Exchange:
    """A request and its response. The response's fields have their defaults until it is finished."""

    service: Service
    method: str
    #: The path in normal form, and with placeholders instead of ids.
    path: str
    route: str
    query: dict[str, str]
    headers: dict[str, str]
    caller: Caller
    bucket: Bucket | None
    #: The character whose data or login it is for, None if it is for none.
    character_id: int | None
    #: The refresh token that it sends, and whether it redeems the code of a new login instead.
    refresh_token: str
    is_code: bool
    #: That code, or the one that the login page issues, and its PKCE verifier.
    code: str
    code_verifier: str
    #: The sandbox's time at which it arrived, and the host's monotonic time.
    at_s: float
    arrived_mono: float = field(default_factory=time.monotonic)
    origin: Origin = "route"
    fault: Fault | None = None
    #: Whether its refresh token had been replaced before, and what it is replaced with now.
    was_rotated: bool = False
    new_refresh_token: str | None = None
    #: The access token that was issued.
    access_token: str | None = None
    #: The downtime that answered it.
    outage: Outage | None = None
    #: Whether its response has cost more tokens than its bucket had.
    is_overdrawn: bool = False
    #: What else was under way when it arrived, if it is a refresh at the token endpoint.
    load: Load | None = None
    #: The data that the route answered with, and the ETag of this part of it.
    snapshot: Snapshot | None = None
    etag: str | None = None
    status: int = 0
    response_headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    finished_s: float = 0.0
    finished_mono: float = 0.0

    @property
    def is_delivered(self) -> bool:
        """Whether the refresh token that was issued is in the response."""
        is_cut = self.fault is not None and self.fault.drop
        return self.new_refresh_token is not None and not is_cut and self.new_refresh_token.encode() in self.body

    def finish(self, response: Response, now_s: float) -> None:
        """Note the response, as it is sent."""
        self.status = response.status_code
        self.response_headers = {name.lower(): value for name, value in response.headers.items()}
        self.body = response.get_data()
        self.finished_s = now_s
        self.finished_mono = time.monotonic()


def current() -> Exchange:
    """Return the exchange of the request that this thread answers."""
    return cast(Exchange, g.exchange)
