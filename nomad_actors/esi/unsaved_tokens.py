"""Refresh tokens that the database missed: kept in Redis, encrypted, until it is back."""

from __future__ import annotations

import contextlib
from typing import Any

import redis

from ..logs import get_logger
from .limits.keys import key

logger = get_logger("nomad_actors.esi.unsaved_tokens")


class UnsavedTokens:
    """Keeps the encrypted token that replaces that of a login's version; all processes share it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def put(self, character_id: int, version: int, sealed: str) -> None:
        """Keep a token, if Redis can: there is nothing better left if it cannot."""
        try:
            self._client.hset(key("unsaved"), str(character_id), f"{version} {sealed}")
        except redis.RedisError as error:
            logger.error("neither the database nor Redis could save a refresh token", error=str(error))

    def get(self, character_id: int, version: int) -> str | None:
        """Return the token that replaces the one of `version`, or None.

        Raises `redis.RedisError`: without an answer nobody may ask SSO with the old token.
        """
        found: Any = self._client.hget(key("unsaved"), str(character_id))
        of_version, _, sealed = (found.decode() if isinstance(found, bytes) else found or "").partition(" ")
        return sealed if of_version == str(version) else None

    def drop(self, character_id: int) -> None:
        """Forget a token that is in the database by now; one that stays is of an old version."""
        with contextlib.suppress(redis.RedisError):
            self._client.hdel(key("unsaved"), str(character_id))
