"""Errors of ESI and SSO, classified by what to do about them.

NomadError
├── EsiError           carries the status and CCP's request id
│   ├── EsiUnavailable ESI, its SSO or the network is down, or a limit is reached: also TryLater
│   │   ├── TokenUnchecked ESI could not check the token
│   │   └── ListingChanged its responses are not one consistent listing
│   ├── NotSent        a limit or a brake stopped the request, to ESI or SSO: also TryLater
│   │   └── StepEnded  a long listing is read on in its next step
│   └── EsiRefused     400, 401, 403, 404, 422: a retry would only spend rate limit
└── SsoError
    ├── DeadLogin      this refresh token will never work again
    ├── SsoMisconfigured our client id, secret or request is wrong, the login is fine: also TryLater
    └── SsoUnavailable anything else: also TryLater
"""

from __future__ import annotations

from ..errors import NomadError, TryLater

#: When to retry if the response does not say; brakes and refusals lengthen it.
SOON_SECONDS = 10.0


class EsiError(NomadError):
    """Base of the errors of requests to ESI; never contains a token."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(f"{message} (request {request_id})" if request_id else message)
        self.status = status
        self.request_id = request_id


class EsiUnavailable(EsiError, TryLater):
    """Raised if ESI does not answer, sends an unusable response, or reports that it is down or a limit is reached."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_seconds: float = SOON_SECONDS,
    ) -> None:
        text = f"{message} (request {request_id})" if request_id else message
        TryLater.__init__(self, text, retry_after_seconds=retry_after_seconds)
        self.status = status
        self.request_id = request_id


class TokenUnchecked(EsiUnavailable):
    """Raised for a 403 that reports a failure of SSO: the token has expired, or SSO does not answer ESI."""


class ListingChanged(EsiUnavailable):
    """Raised if the responses of a listing are not from one moment; it is read anew from its first page."""


class NotSent(EsiError, TryLater):
    """Raised instead of a request to ESI or SSO for which there is no room, or that a brake stops.

    `cause` is the name of the brake, bucket or concurrency limit; `errors` is the old error limit, `redis` a Redis that
    does not answer, `flight` another job's refresh of the same route, `step` the end of a listing's step.
    """

    def __init__(self, message: str, *, cause: str, retry_after_seconds: float) -> None:
        TryLater.__init__(self, message, retry_after_seconds=retry_after_seconds)
        self.status = self.request_id = None
        self.cause = cause


class StepEnded(NotSent):
    """Raised when a job has read a long listing for long enough; what it has read is kept for the next step."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message, cause="step", retry_after_seconds=retry_after_seconds)


class EsiRefused(EsiError):
    """Raised for a 400, 401, 403, 404 or 422: the same request would fail again."""


class SsoError(NomadError):
    """Base of the errors that SSO returns instead of tokens; never contains a token."""


class DeadLogin(SsoError):
    """Raised if SSO reports that this refresh token will never work again."""


class SsoMisconfigured(SsoError, TryLater):
    """Raised if SSO rejects this application and not the login."""

    def __init__(self, message: str, *, retry_after_seconds: float = SOON_SECONDS) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class SsoUnavailable(SsoError, TryLater):
    """Raised if SSO does not answer or returns an unexpected response; `is_local` if only this host may think so."""

    def __init__(self, message: str, *, retry_after_seconds: float = SOON_SECONDS, is_local: bool = False) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.is_local = is_local
