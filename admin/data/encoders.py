"""The texts of streamed rows: NDJSON and CSV, with the names and values of the JSON pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

from nomad_actors import exact_json

from .row_forms import RowForm


class Encoder(Protocol):
    """Writes rows of one form."""

    content_type: str

    def __init__(self, form: RowForm) -> None: ...

    def head(self) -> str:
        """Return what comes before the first row."""

    def encode(self, rows: Iterable[Any]) -> str:
        """Return the text of some rows."""

    def failure(self, error: Mapping[str, Any]) -> str:
        """Return the last text of a stream that cannot be completed."""


class Ndjson:
    """One JSON object a line; a failed stream ends in a line with the only field `error`."""

    content_type = "application/x-ndjson"

    def __init__(self, form: RowForm) -> None:
        self._form = form

    def head(self) -> str:
        return ""

    def encode(self, rows: Iterable[Any]) -> str:
        return "".join(f"{exact_json.dumps(self._form.json(row))}\n" for row in rows)

    def failure(self, error: Mapping[str, Any]) -> str:
        return f"{exact_json.dumps({'error': error})}\n"


class Csv:
    """A header and one record a row (RFC 4180); null is empty, an object is JSON."""

    content_type = "text/csv; charset=utf-8; header=present"

    def __init__(self, form: RowForm) -> None:
        self._form = form

    def head(self) -> str:
        return _records([self._form.names])

    def encode(self, rows: Iterable[Any]) -> str:
        return _records(map(_cell, self._form.values(row)) for row in rows)

    def failure(self, error: Mapping[str, Any]) -> str:
        # No record is possible that a reader could not take for data: the cut connection has to say it.
        return ""


ENCODERS: Mapping[str, type[Encoder]] = MappingProxyType({"application/x-ndjson": Ndjson, "text/csv": Csv})


def _records(records: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(records)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool | dict | list):
        return exact_json.dumps(value)
    return value
