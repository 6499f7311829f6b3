"""Opens the limits of ESI and SSO with an application's settings."""

from __future__ import annotations

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from ...clock import Clock
from ...settings import Settings
from ...settings.contact import is_ccps
from .limiter import DOWNTIME_MS, Limiter


def open_limiter(settings: Settings, clock: Clock, *, deadline_ms: int | None = None) -> Limiter:
    """Return the limits of ESI and SSO that all processes with these settings share.

    With `deadline_ms`, reading their state fails after that time.
    """
    # A Redis that hangs fails the first round trip of several; a slow one may need some time for each.
    seconds = 5.0 if deadline_ms is None else deadline_ms / 1500
    client = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # The scripts recognise a repeated call.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2 if deadline_ms is None else 0),
    )
    return Limiter(
        client,
        clock=clock,
        application=settings.eve_client_id,
        concurrency=settings.esi_concurrency,
        downtime_ms=DOWNTIME_MS if is_ccps(settings) else None,
    )
