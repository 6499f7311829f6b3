"""Refresh tokens that could not be saved in the database: stored in Redis, encrypted, until it is back."""

from __future__ import annotations

import contextlib
from typing import Any

import redis

from ..logs import get_logger
from .limits.keys import key

logger = get_logger("nomad_actors.esi.unsaved_tokens")


class UnsavedTokens:
    """Encrypted refresh tokens, each with the version of the login whose token it replaces; shared by all processes."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def put(self, character_id: int, version: int, sealed: str) -> None:
        """Store a token; if Redis does not answer either, only log that, because there is no other place."""
        try:
            self._client.hset(key("unsaved"), str(character_id), f"{version} {sealed}")
        except redis.RedisError as error:
            logger.error("neither the database nor Redis could save a refresh token", error=str(error))

    def get(self, character_id: int, version: int) -> str | None:
        """Return the token that replaces the one of `version`, or None.

        Raises `redis.RedisError`: without an answer nobody may ask SSO with the old token.
        """
        found: Any = self._client.hget(key("unsaved"), str(character_id))
        of_version, _, sealed = (found or "").partition(" ")
        return sealed if of_version == str(version) else None

    def drop(self, character_id: int) -> None:
        """Remove a token that the database has now; one that cannot be removed is ignored, as its version is old."""
        with contextlib.suppress(redis.RedisError):
            self._client.hdel(key("unsaved"), str(character_id))
