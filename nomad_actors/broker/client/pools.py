"""The broker's own connection pools to the Redis of an application's client.

The application's pool itself is never used: redis-py would silently repeat scripts, and a blocking wait would take the
only connection of a pool of one. The application's choices are kept: the pool's class and maximum, TLS, user,
credential provider, socket options, the client's name.

Our own settings are: no repeats by redis-py, RESP2, replies as bytes, UTF-8, and maximum timeouts.
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
#: The maximum of a pool for one connection: after a failover redis-py also counts connections that it has dropped.
FOR_ONE = 100

#: Arguments that redis-py's pool sets itself for its connections, and refuses from callers.
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
    """Return the client for a broker's arguments. Raises `ValueError` if they contradict each other."""
    if client is None:
        if url and "connection_pool" in parameters:
            raise ValueError("url and connection_pool both name a Redis (allowed: one of them)")
        client = redis.Redis.from_url(url, **parameters) if url else redis.Redis(**parameters)
    if not isinstance(getattr(client, "connection_pool", None), redis.ConnectionPool):
        raise ValueError(f"client is a {class_name(client)} (allowed: a redis.Redis with a connection pool)")
    return client


def own_pool(
    pool: redis.ConnectionPool,
    *,
    max_connections: int | None = None,
    wait_seconds: float | None = None,
    **overrides: Any,
) -> redis.ConnectionPool:
    """Return a pool of the same class to the same server, with our settings for its connections.

    `max_connections` replaces the maximum of `pool`; a blocking pool waits at most `wait_seconds` for a connection.
    Raises `ValueError` if the class does not take the arguments of redis-py's pools.
    """
    arguments = _connection_arguments(pool) | overrides | _pool_arguments(pool, wait_seconds)
    if max_connections is not None:
        arguments["max_connections"] = max_connections
    try:
        return type(pool)(**arguments)
    except TypeError as error:
        raise ValueError(
            f"a connection pool of class {class_name(pool)} does not take the arguments of redis-py's pools "
            f"({describe_error(error)}): use a class whose constructor takes them"
        ) from error


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
