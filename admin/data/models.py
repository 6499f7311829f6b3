"""The responses that are not lists of rows: documents and completeness."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from pydantic import Field

from nomad_actors.data import Document
from nomad_actors.data.moments import to_ms
from nomad_actors.errors import ExitCode, UnknownName
from nomad_actors.esi import ROUTES
from nomad_actors.response_model import ResponseModel
from nomad_actors.store.history.completeness import Cause, Completeness, Hole

#: The ESI route of each dataset, by the name that metrics have too.
DATASETS: Mapping[str, str] = {route.dataset: route.name for route in ROUTES.values()}


class UnknownDataset(UnknownName):
    """Raised for the name of a dataset that does not exist."""

    kind = "dataset"
    http_status, exit_code = HTTPStatus.NOT_FOUND, ExitCode.NOT_FOUND


class StoredDocument(ResponseModel):
    """ESI's last complete response for one route."""

    dataset: str
    endpoint: str = Field(description="the ESI route")
    body: Any = Field(description="as ESI sent it; all pages of a list together")
    as_of: int | None = Field(description="the time of ESI's data")
    fresh_until: int | None = Field(description="ESI has nothing newer before this time")
    esi_etag: str | None = Field(description="ESI's validator; the one of this response is in its header ETag")


class MissingTime(ResponseModel):
    """A span of time, both ends included, in which rows may be missing."""

    from_: int = Field(alias="from")
    until: int
    cause: Cause
    details: str
    found: int
    can_be_filled: bool = Field(description="ESI still shows its end, so that a later run may fill it")


class CompletenessOfType(ResponseModel):
    """Every row from `completeSince` to before `completeUntil` is stored, except in the holes."""

    complete_since: int | None = Field(description="null: never read completely")
    complete_until: int | None
    complete_read: int | None = Field(description="when ESI's data was last read to its end")
    holes: list[MissingTime]


class CompletenessOfTypes(ResponseModel):
    """How complete each data type is."""

    data_types: dict[str, CompletenessOfType]


def document_of(dataset: str, found: Document) -> StoredDocument:
    return StoredDocument.model_construct(
        dataset=dataset,
        endpoint=found.route,
        body=found.body,
        as_of=_ms(found.as_of),
        fresh_until=_ms(found.fresh_until),
        esi_etag=found.etag,
    )


def completeness_of(found: Mapping[str, Completeness]) -> CompletenessOfTypes:
    return CompletenessOfTypes(data_types={name: _of_type(each) for name, each in found.items()})


def _of_type(found: Completeness) -> CompletenessOfType:
    return CompletenessOfType(
        complete_since=found.complete_since_ms,
        complete_until=found.complete_until_ms,
        complete_read=found.complete_read_ms,
        holes=list(map(_missing, found.holes)),
    )


def _missing(hole: Hole) -> MissingTime:
    return MissingTime.model_construct(
        from_=hole.from_ms,
        until=hole.until_ms,
        cause=hole.cause,
        details=hole.details,
        found=hole.found_ms,
        can_be_filled=hole.can_be_filled,
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
