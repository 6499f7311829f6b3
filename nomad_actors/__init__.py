"""EVE Nomad's background jobs: the public names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .app import App, connect
    from .broker.errors import Cancelled, Defer, PermanentError
    from .jobs import (
        cleanup_cache,
        collect_all_historical_data,
        collect_historical_data,
        refresh_character_data,
        refresh_character_token,
        refresh_esi_data,
    )
    from .queues import NewJob, add_job, add_jobs, current_job, get_queue
    from .queues.job_type import JobType, Payload, Result
    from .queues.policy import Backoff, Priority
    from .settings import Settings

# Imported on first use: code that only needs the broker does not wait for the database's library.
_HOMES = {
    "app": ("App", "connect"),
    "broker.errors": ("Cancelled", "Defer", "PermanentError"),
    "queues.job_type": ("JobType", "Payload", "Result"),
    "queues.policy": ("Backoff", "Priority"),
    "jobs": (
        "cleanup_cache",
        "collect_all_historical_data",
        "collect_historical_data",
        "refresh_character_data",
        "refresh_character_token",
        "refresh_esi_data",
    ),
    "queues": ("NewJob", "add_job", "add_jobs", "current_job", "get_queue"),
    "settings": ("Settings",),
}

__all__ = [
    "App",
    "Backoff",
    "Cancelled",
    "Defer",
    "JobType",
    "NewJob",
    "Payload",
    "PermanentError",
    "Priority",
    "Result",
    "Settings",
    "__version__",
    "add_job",
    "add_jobs",
    "cleanup_cache",
    "collect_all_historical_data",
    "collect_historical_data",
    "connect",
    "current_job",
    "get_queue",
    "refresh_character_data",
    "refresh_character_token",
    "refresh_esi_data",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
