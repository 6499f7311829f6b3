"""Makes the options that our job types set on their actors legal: Dramatiq refuses those that nobody declares."""

from __future__ import annotations

from typing import ClassVar

from dramatiq import Middleware


class ActorOptions(Middleware):
    """Declares `backoff`, what a failed job waits before its next attempt: `{"type": ..., "delay": ms}`."""

    actor_options: ClassVar[set[str]] = {"backoff"}
