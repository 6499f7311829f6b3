"""Our job types, and the functions that add their jobs.

To add a job type, write a module like these and add its job type to `JOB_TYPES`.
"""

from __future__ import annotations

from ..queues.job_type import JobType
from .cache_cleanup import CACHE_CLEANUP, cleanup_cache
from .esi_check import ESI_CHECK
from .esi_refresh import ESI_DATA_REFRESH, refresh_character_data, refresh_esi_data
from .historical_data import HISTORICAL_DATA_COLLECTION, collect_all_historical_data, collect_historical_data
from .services import Services
from .token_refresh import TOKEN_REFRESH, refresh_character_token

__all__ = [
    "JOB_TYPES",
    "SCHEDULES",
    "Services",
    "cleanup_cache",
    "collect_all_historical_data",
    "collect_historical_data",
    "refresh_character_data",
    "refresh_character_token",
    "refresh_esi_data",
]

JOB_TYPES: tuple[JobType, ...] = (TOKEN_REFRESH, ESI_DATA_REFRESH, HISTORICAL_DATA_COLLECTION, CACHE_CLEANUP, ESI_CHECK)

#: The schedules of all job types.
SCHEDULES = tuple(schedule for job_type in JOB_TYPES for schedule in job_type.job_schedules())
