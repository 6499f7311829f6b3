"""The audit log, the probes, and the OpenAPI document itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nomad_actors.response_model import ResponseModel


class AuditEntry(ResponseModel):
    """A change that was asked for, or a refusal."""

    id: str
    at: int = Field(description="ms since the epoch")
    request_id: str
    actor: str
    role: str
    peer: str
    method: str
    path: str
    endpoint: str | None = Field(
        description="the path's pattern; null where no endpoint has the path, and in old entries"
    )
    queue_name: str | None
    job_id: str | None
    schedule_name: str | None
    body: str | None = Field(description="in short, without secrets")
    body_length: int | None = Field(description="of the body as it came, bytes")
    body_sha256: str | None = Field(description="of the body as it came, in hex")
    refused: str | None = Field(description="why it was refused, in a word; null for a change")
    ended_at: int | None = Field(description="ms since the epoch; null when how it ended is not known")
    status: int | None
    error: str | None


class AuditPage(ResponseModel):
    """Some entries of the audit log, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="what gives the next page as `cursor`; null after the last")


class Alive(ResponseModel):
    """The process is alive."""

    status: Literal["ok"]


class Ready(ResponseModel):
    """Whether Redis and the database answer: "ok", or why not."""

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
