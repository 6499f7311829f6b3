"""EVE Online's ESI and SSO: the routes as data, the clients, and the document cache."""

from .cache import CachedDocument, CleanReport, EsiCache
from .client import EsiClient
from .errors import (
    DeadLogin,
    EsiError,
    EsiRefused,
    EsiUnavailable,
    ListingChanged,
    NotSent,
    SsoError,
    SsoMisconfigured,
    SsoUnavailable,
    StepEnded,
    TokenUnchecked,
)
from .listings import Copy, HeldPages
from .response import EsiResponse
from .routes import COMPATIBILITY_DATE, GROUPS, ROUTES, Route, dataset_of, normalise
from .sso import SsoClient, Tokens
from .sso_session import http_session

__all__ = [
    "COMPATIBILITY_DATE",
    "GROUPS",
    "ROUTES",
    "CachedDocument",
    "CleanReport",
    "Copy",
    "DeadLogin",
    "EsiCache",
    "EsiClient",
    "EsiError",
    "EsiRefused",
    "EsiResponse",
    "EsiUnavailable",
    "HeldPages",
    "ListingChanged",
    "NotSent",
    "Route",
    "SsoClient",
    "SsoError",
    "SsoMisconfigured",
    "SsoUnavailable",
    "StepEnded",
    "TokenUnchecked",
    "Tokens",
    "dataset_of",
    "http_session",
    "normalise",
]
