"""The audit log, the probes, and the OpenAPI document itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nomad_actors.response_model import ResponseModel


class AuditEntry(ResponseModel):
    """A requested change, or a refused request."""

    id: str
    at: int = Field(description="ms since the epoch")
    request_id: str
    actor: str
    role: str
    peer: str
    method: str
    path: str
    endpoint: str | None = Field(description="the path's pattern; null if no endpoint has the path, and in old entries")
    queue_name: str | None
    job_id: str | None
    schedule_name: str | None
    body: str | None = Field(description="shortened, without secrets")
    body_length: int | None = Field(description="size of the received body in bytes")
    body_sha256: str | None = Field(description="hash of the received body in hex")
    refused: str | None = Field(description="the reason of a refusal, in a word; null for a change")
    ended_at: int | None = Field(description="ms since the epoch; null if the result is unknown")
    status: int | None
    error: str | None


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
