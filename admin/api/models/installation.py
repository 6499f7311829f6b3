"""The audit log, the probes, and the OpenAPI document itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nomad_actors.response_model import ResponseModel
from nomad_actors.store import AuditEntry


class AuditPage(ResponseModel):
    """Some entries of the audit log, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="pass it as `cursor` to get the next page; null on the last page")


class Alive(ResponseModel):
    """The process is alive."""

    status: Literal["ok"]


class Ready(ResponseModel):
    """Whether Redis and the database answer: "ok", or the reason."""

    ready: bool
    redis: str
    database: str


class OpenApi(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]

    model_config = ConfigDict(extra="allow")
