"""The base of the payloads for one character or a sweep over all characters.

Schedules add sweeps. A sweep does no other work than to add one job per character (and route, or data type).
"""

from __future__ import annotations

import zlib
from typing import Any, Self

from pydantic import Field, model_validator

from ..queues.job_type import Payload


class CharacterPayload(Payload):
    """One character of one user; or, with `sweep`, all characters that are due."""

    character_id: int | None = Field(default=None, gt=0)
    user_id: int | None = None
    sweep: bool = False
    #: A sweep's jobs are spread over this time, with a fixed offset per character.
    spread_seconds: int = Field(default=0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _one_or_all(self) -> Self:
        named = [name for name in self._of_one_character() if getattr(self, name) is not None]
        if self.sweep and named:
            raise ValueError(f"a sweep is over all characters and takes no {', '.join(named)}")
        missing = [name for name in self._of_one_character() if getattr(self, name) is None]
        if not self.sweep and missing:
            raise ValueError(f"{', '.join(missing)} must be given, or sweep be true")
        if not self.sweep and self.spread_seconds:
            raise ValueError("spread_seconds goes with sweep only")
        return self

    @classmethod
    def _of_one_character(cls) -> tuple[str, ...]:
        """Return the fields that a job of one character must have and a sweep must not."""
        return ("character_id", "user_id")

    @property
    def character(self) -> int:
        """The character's id, in a job for one character."""
        assert self.character_id is not None
        return self.character_id

    def delay_ms(self, *names: Any) -> int:
        """Return the start of a job within the spread (ms); the same `names` always have the same start."""
        # An even spread adds nothing to CCP's peaks at full hours, and does not send all requests to SSO at once.
        return zlib.crc32(repr(names).encode()) % (self.spread_seconds * 1000) if self.spread_seconds else 0
