"""What may go wrong at ESI and SSO, told apart by what is to be done about it.

NomadError
├── EsiError           carries the status and CCP's request id
│   ├── EsiUnavailable ESI, SSO behind it or the line to it is down: a later try may do better
│   │   └── EsiLimited nobody may ask before `retry_after_seconds`: 420, 429, or down and says for how long
│   └── EsiRefused     400, 401, 403, 404, 422: asking again would only spend budget
└── SsoError
    ├── DeadLogin      this refresh token is of no more use
    ├── SsoMisconfigured our client id, secret or request is wrong; no login is to blame
    └── SsoUnavailable anything else: weather
        └── SsoLimited nobody may ask before `retry_after_seconds`
"""

from __future__ import annotations

from ..errors import NomadError, TryLater


class EsiError(NomadError):
    """Raised for an answer of ESI's that is no data; never carries a token."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(f"{message} (request {request_id})" if request_id else message)
        self.status = status
        self.request_id = request_id


class EsiUnavailable(EsiError):
    """Raised when ESI does not answer, or answers that it or what is behind it is down; worth a later try."""


class EsiLimited(EsiUnavailable, TryLater):
    """Raised when ESI says when to come back: a 420 or 429, or a 5xx with `Retry-After`."""

    def __init__(self, message: str, *, status: int, retry_after_seconds: float, request_id: str | None = None) -> None:
        words = f"{message} (request {request_id})" if request_id else message
        TryLater.__init__(self, words, retry_after_seconds=retry_after_seconds)
        self.status = status
        self.request_id = request_id


class EsiRefused(EsiError):
    """Raised for a 400, 401, 403, 404 or 422: the same request would be refused again."""


class SsoError(NomadError):
    """The base of what SSO answers instead of tokens; never carries a token."""


class DeadLogin(SsoError):
    """Raised when SSO says that this refresh token will never work again."""


class SsoMisconfigured(SsoError):
    """Raised when SSO refuses this application rather than the login."""


class SsoUnavailable(SsoError):
    """Raised when SSO does not answer, or answers something else; worth a later try."""


class SsoLimited(SsoUnavailable, TryLater):
    """Raised when SSO says when to come back: an answer with `Retry-After`."""
