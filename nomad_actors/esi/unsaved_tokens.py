"""Refresh tokens that are not in the database (yet): stored in Redis, encrypted."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, Literal

import redis

from ..logs import get_logger
from .limits.keys import key

logger = get_logger("nomad_actors.esi.unsaved_tokens")


class UnsavedTokens:
    """Encrypted refresh tokens by character; shared by all processes.

    Each is stored with a digest of the refresh token that it replaces, so that it is found only for that one: not for a
    login that was removed and added again.
    """

    def __init__(self, client: redis.Redis, name: Literal["unsaved", "doubtful"] = "unsaved") -> None:
        self._client = client
        self._key = key(name)

    def put(self, character_id: int, replaced: str, sealed: str) -> None:
        """Store the encrypted token that replaces `replaced`; if Redis does not answer, only log that."""
        try:
            self._client.hset(self._key, str(character_id), f"{_digest(replaced)} {sealed}")
        except redis.RedisError as error:
            logger.error("Redis could not save a refresh token", character_id=character_id, error=str(error))

    def get(self, character_id: int, replaced: str) -> str | None:
        """Return the encrypted token that replaces `replaced`, or None.

        Raises `redis.RedisError`: without an answer nobody may ask SSO with the old token.
        """
        found: Any = self._client.hget(self._key, str(character_id))
        digest, _, sealed = (found or "").partition(" ")
        return sealed if digest == _digest(replaced) else None

    def drop(self, character_id: int) -> None:
        """Remove a token; one that cannot be removed is ignored, as the one that it replaces is not in use any more."""
        with contextlib.suppress(redis.RedisError):
            self._client.hdel(self._key, str(character_id))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:32]
