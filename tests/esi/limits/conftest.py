"""Limiters on a real Redis, and short calls of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from nomad_actors.clock import ManualClock
from nomad_actors.esi.limits import Limiter


@pytest.fixture
def make_limiter(decoding_redis: redis.Redis, clock: ManualClock) -> Callable[..., Limiter]:
    """`make_limiter(**options)`: the limiter of one process; all share their Redis."""
    return lambda **options: Limiter(decoding_redis, clock=clock, application="app", **options)


@pytest.fixture
def limiter(make_limiter: Callable[..., Limiter]) -> Limiter:
    """The limiter of one process."""
    return make_limiter()
