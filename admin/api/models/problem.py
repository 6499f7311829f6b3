"""Problem responses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nomad_actors.response_model import ResponseModel, optional


class Problem(ResponseModel):
    """An error (RFC 9457)."""

    type: str
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="the invalid value, what is wrong with it, and what is allowed")
    accepted: list[str] = optional("the allowed values, if there is a choice")
    healthy: Literal[False] = optional("only of the health endpoint, if it cannot read the state")
