"""What went wrong."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nomad_actors.response_model import ResponseModel, optional


class Problem(ResponseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what was wrong, the value named, and what is accepted")
    accepted: list[str] = optional("what is accepted, where there is a choice")
    healthy: Literal[False] = optional("of the health endpoint alone, when it cannot tell")
