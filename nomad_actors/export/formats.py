"""The formats: CSV and NDJSON, and Parquet, which needs pyarrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

from .. import exact_json
from ..errors import NomadError
from .columns import Column, values


class Format(Protocol):
    """How rows become bytes: each batch is appended to what came before, so that a file can be continued."""

    def head(self) -> bytes:
        """Return what comes before the first row."""

    def encode(self, rows: Sequence[Any]) -> bytes:
        """Return some rows."""

    def write(self, batches: Iterable[Sequence[Any]], output: BinaryIO) -> None:
        """Write all rows to a stream that cannot be continued."""

    def finish(self, part: Path) -> Path:
        """Return the finished file that is made of all parts: `part` itself, or another one next to it."""


class _Text:
    """A text in UTF-8, line by line."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._names = tuple(each.name for each in columns)

    def head(self) -> bytes:
        return b""

    def encode(self, rows: Sequence[Any]) -> bytes:
        raise NotImplementedError

    def write(self, batches: Iterable[Sequence[Any]], output: BinaryIO) -> None:
        output.write(self.head())
        for rows in batches:
            output.write(self.encode(rows))
            output.flush()

    def finish(self, part: Path) -> Path:
        return part


class Ndjson(_Text):
    """One JSON object a line, all digits of ISK, times in ISO 8601."""

    def encode(self, rows: Sequence[Any]) -> bytes:
        return "".join(f"{exact_json.dumps(self._object(row))}\n" for row in rows).encode()

    def _object(self, row: Any) -> dict[str, Any]:
        # An object is one here, not JSON within JSON.
        return {name: _time(getattr(row, name)) for name in self._names}


class Csv(_Text):
    """RFC 4180 with a header; a missing value is empty, an object is JSON, times are in ISO 8601."""

    def head(self) -> bytes:
        return _records([self._names])

    def encode(self, rows: Sequence[Any]) -> bytes:
        return _records([_cell(value) for value in values(row, self._columns)] for row in rows)


def _records(records: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(records)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _time(value)


def _time(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def _parquet(columns: tuple[Column, ...]) -> Format:
    try:
        from .parquet import Parquet
    except ModuleNotFoundError as error:
        raise NomadError(
            f"Parquet needs a library that is not installed ({error}): pip install nomad-actors[parquet]"
        ) from error
    return Parquet(columns)


FORMATS: Mapping[str, Callable[[tuple[Column, ...]], Format]] = MappingProxyType(
    {"csv": Csv, "ndjson": Ndjson, "parquet": _parquet}
)
