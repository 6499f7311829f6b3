"""Connection pools of our own to the Redis of an application's client: its class and settings, with our rules on top.

The application's pool itself is never used: redis-py's repeats would run scripts twice without a word, and a blocking
wait would take the only connection of a pool of one. What an application has chosen is kept: the pool's class and
bound, TLS, user, credential provider, socket options, the client's name.

Ours alone are: no repeats by redis-py, RESP2, bytes as answers, UTF-8, and timeouts that a longer one does not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...logs.foreign_text import class_name, describe_error

SOCKET_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5.0
#: The bound of a pool that one connection is taken from; redis-py counts some that it has let go of after a failover.
FOR_ONE = 100

#: What redis-py's pool writes into its connections' arguments for itself, and refuses from others.
_POOLS_OWN = ("maint_notifications", "oss_cluster", "orig_", "connection_pool")

_OURS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "strict",
    "protocol": 2,
}


def client_of(url: str | None, client: redis.Redis | None, parameters: Mapping[str, Any]) -> redis.Redis:
    """Return the client that a broker's arguments name. Raises `ValueError` for arguments that do not go together."""
    if client is None:
        if url and "connection_pool" in parameters:
            raise ValueError("url and connection_pool both name a Redis (accepted: one of them)")
        client = redis.Redis.from_url(url, **parameters) if url else redis.Redis(**parameters)
    if not isinstance(getattr(client, "connection_pool", None), redis.ConnectionPool):
        raise ValueError(f"client is a {class_name(client)} (accepted: a redis.Redis with a connection pool)")
    return client


def own_pool(
    pool: redis.ConnectionPool,
    *,
    max_connections: int | None = None,
    wait_seconds: float | None = None,
    **overrides: Any,
) -> redis.ConnectionPool:
    """Return a pool of the same class to the same server, with our rules for its connections.

    `max_connections` instead of the bound of `pool`; a pool whose users wait for a connection lets them wait no longer
    than `wait_seconds`. Raises `ValueError` for a class that cannot be made with redis-py's arguments.
    """
    arguments = _connection_arguments(pool) | overrides | _pool_arguments(pool, wait_seconds)
    if max_connections is not None:
        arguments["max_connections"] = max_connections
    try:
        return type(pool)(**arguments)
    except TypeError as error:
        raise ValueError(
            f"a connection pool of class {class_name(pool)} cannot be made with the arguments of redis-py's pools "
            f"({describe_error(error)}): give one whose constructor takes them"
        ) from error


def waits_for_connections(pool: redis.ConnectionPool) -> bool:
    """Return whether a pool whose connections are all in use lets its users wait, before it refuses them."""
    return isinstance(pool, redis.BlockingConnectionPool)


def _connection_arguments(pool: redis.ConnectionPool) -> dict[str, Any]:
    theirs = {k: v for k, v in pool.connection_kwargs.items() if not k.startswith(_POOLS_OWN)}
    theirs["socket_timeout"] = min(theirs.get("socket_timeout") or SOCKET_TIMEOUT_SECONDS, SOCKET_TIMEOUT_SECONDS)
    theirs.setdefault("socket_connect_timeout", CONNECT_TIMEOUT_SECONDS)
    return theirs | _OURS


def _pool_arguments(pool: redis.ConnectionPool, wait_seconds: float | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {"connection_class": pool.connection_class, "max_connections": pool.max_connections}
    if isinstance(pool, redis.BlockingConnectionPool):
        waits = [seconds for seconds in (pool.timeout, wait_seconds) if seconds is not None]
        arguments |= {"timeout": min(waits, default=None), "queue_class": pool.queue_class}
    if isinstance(pool, redis.sentinel.SentinelConnectionPool):
        arguments |= {"service_name": pool.service_name, "sentinel_manager": pool.sentinel_manager}
        arguments |= {"is_master": pool.is_master, "check_connection": pool.check_connection}
    return arguments
