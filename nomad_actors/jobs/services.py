"""The services that a job's `run` may use besides its payload."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Clock
from ..esi import EsiCache, EsiClient, SsoClient
from ..esi.limits import Limiter
from ..esi.unsaved_tokens import UnsavedTokens
from ..settings import Settings
from ..store import Store


@dataclass(frozen=True)
class Services:
    """The application's services for jobs; one set per process, shared by its threads."""

    settings: Settings
    clock: Clock
    store: Store
    sso: SsoClient
    esi: EsiClient
    limiter: Limiter
    unsaved_tokens: UnsavedTokens
    cache: EsiCache
