"""The four job types, and the calls that add them.

`SCHEDULED_DATA` is what their schedules enqueue: token-refresh every two hours, esi-data-refresh every five minutes
(it adds what is due), historical-data-collection daily, cache-cleanup daily.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..queues.job_type import JobType
from .cache_cleanup import CACHE_CLEANUP, cleanup_cache
from .esi_refresh import ESI_DATA_REFRESH, refresh_character_data, refresh_esi_data
from .historical_data import HISTORICAL_DATA_COLLECTION, collect_all_historical_data, collect_historical_data
from .services import Services
from .token_refresh import TOKEN_REFRESH, refresh_character_token

__all__ = [
    "JOB_TYPES",
    "SCHEDULED_DATA",
    "Services",
    "cleanup_cache",
    "collect_all_historical_data",
    "collect_historical_data",
    "refresh_character_data",
    "refresh_character_token",
    "refresh_esi_data",
]

JOB_TYPES: tuple[JobType, ...] = (TOKEN_REFRESH, ESI_DATA_REFRESH, HISTORICAL_DATA_COLLECTION, CACHE_CLEANUP)

SCHEDULED_DATA: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Spread over most of the two hours, so that SSO is never asked for all logins at once.
        TOKEN_REFRESH.name: {"sweep": True, "spread_seconds": 6_600},
        ESI_DATA_REFRESH.name: {"sweep": True, "spread_seconds": 240},
        HISTORICAL_DATA_COLLECTION.name: {"sweep": True, "spread_seconds": 14_400},
        CACHE_CLEANUP.name: {"type": "expired", "then_lru": True},
    }
)
