"""Errors of ESI and SSO, classified by what to do about them.

NomadError
├── EsiError           carries the status and CCP's request id
│   ├── EsiUnavailable ESI, its SSO or the network is down: retry later
│   │   └── EsiLimited no requests before `retry_after_seconds`: 420, 429, or a 5xx with `Retry-After`
│   ├── NotSent        a limit or a brake stopped the request, to ESI or SSO
│   └── EsiRefused     400, 401, 403, 404, 422: a retry would only spend rate limit
└── SsoError
    ├── DeadLogin      this refresh token will never work again
    ├── SsoMisconfigured our client id, secret or request is wrong; the login is fine
    └── SsoUnavailable anything else: retry later
        └── SsoLimited no requests before `retry_after_seconds`
"""

from __future__ import annotations

from ..errors import NomadError, TryLater


class EsiError(NomadError):
    """Base of the errors that ESI returns instead of data; never contains a token."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(f"{message} (request {request_id})" if request_id else message)
        self.status = status
        self.request_id = request_id


class NotSent(EsiError, TryLater):
    """Raised instead of a request to ESI or SSO for which there is no room, or that a brake stops.

    `cause` is the name of the brake, bucket or concurrency limit, or `errors` for the old error limit.
    """

    def __init__(self, message: str, *, cause: str, retry_after_seconds: float) -> None:
        TryLater.__init__(self, message, retry_after_seconds=retry_after_seconds)
        self.status = self.request_id = None
        self.cause = cause


class EsiUnavailable(EsiError):
    """Raised if ESI does not answer, or reports that it or a service behind it is down; retry later."""


class EsiLimited(EsiUnavailable, TryLater):
    """Raised if ESI says when to retry: for a 420 or 429, or a 5xx with `Retry-After`."""

    def __init__(
        self, message: str, *, status: int | None, retry_after_seconds: float, request_id: str | None = None
    ) -> None:
        text = f"{message} (request {request_id})" if request_id else message
        TryLater.__init__(self, text, retry_after_seconds=retry_after_seconds)
        self.status = status
        self.request_id = request_id


class EsiRefused(EsiError):
    """Raised for a 400, 401, 403, 404 or 422: the same request would fail again."""


class SsoError(NomadError):
    """Base of the errors that SSO returns instead of tokens; never contains a token."""


class DeadLogin(SsoError):
    """Raised if SSO reports that this refresh token will never work again."""


class SsoMisconfigured(SsoError):
    """Raised if SSO rejects this application and not the login."""


class SsoUnavailable(SsoError):
    """Raised if SSO does not answer or returns an unexpected response; retry later."""


class SsoLimited(SsoUnavailable, TryLater):
    """Raised if SSO says when to retry: for a response with `Retry-After`."""
