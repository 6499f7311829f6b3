"""The formats: CSV and NDJSON, and Parquet, which needs pyarrow."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

from .. import exact_json
from ..errors import NomadError
from .columns import Columns


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


class _Text(ABC):
    """A text in UTF-8, line by line."""

    def head(self) -> bytes:
        return b""

    @abstractmethod
    def encode(self, rows: Sequence[Any]) -> bytes:
        """Return some rows."""

    def write(self, batches: Iterable[Sequence[Any]], output: BinaryIO) -> None:
        output.write(self.head())
        for rows in batches:
            output.write(self.encode(rows))
            output.flush()

    def finish(self, part: Path) -> Path:
        return part


def _iso(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


class Ndjson(_Text):
    """One JSON object a line, all digits of ISK, times in ISO 8601."""

    def __init__(self, columns: Columns) -> None:
        self._columns, self._names = columns, columns.names
        self._converters = columns.converters({datetime: _iso})

    def encode(self, rows: Sequence[Any]) -> bytes:
        return "".join(f"{exact_json.dumps(self._object(row))}\n" for row in rows).encode()

    def _object(self, row: Any) -> dict[str, Any]:
        return dict(zip(self._names, self._columns.converted(row, self._converters), strict=True))


class Csv(_Text):
    """RFC 4180 with a header; a missing value is empty, an object is JSON, times are in ISO 8601."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._converters = columns.converters(
            {datetime: _iso, Decimal: "{:f}".format, bool: _BOOLEANS.__getitem__, dict: exact_json.dumps}
        )

    def head(self) -> bytes:
        return _records([self._columns.names])

    def encode(self, rows: Sequence[Any]) -> bytes:
        return _records(self._columns.converted(row, self._converters) for row in rows)


_BOOLEANS = {True: "true", False: "false"}


def _records(records: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(records)
    return text.getvalue().encode()


def _parquet(columns: Columns) -> Format:
    try:
        from .parquet import Parquet
    except ModuleNotFoundError as error:
        raise NomadError(
            f"Parquet needs a library that is not installed ({error}): pip install nomad-actors[parquet]"
        ) from error
    return Parquet(columns)


FORMATS: Mapping[str, Callable[[Columns], Format]] = MappingProxyType(
    {"csv": Csv, "ndjson": Ndjson, "parquet": _parquet}
)
