"""Parquet, whose file ends with an index of all rows, so that it cannot be continued.

So rows are collected in Arrow's stream format, whose batches can be appended, and converted at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .batches import batches_of
from .columns import Column, values

#: ISK have the precision of our columns.
_TYPES: Mapping[type[Any], pa.DataType] = MappingProxyType(
    {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        str: pa.string(),
        dict: pa.string(),
        datetime: pa.timestamp("ms", tz="UTC"),
        Decimal: pa.decimal128(20, 2),
    }
)
#: Batches of one row group, which a reader reads at once.
_GROUP_BATCHES = 10


class Parquet:
    """Parquet with zstd: ISK are decimal128(20, 2), times are in UTC milliseconds, ids int64, objects JSON texts."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns])

    def head(self) -> bytes:
        return bytes(self._schema.serialize())

    def encode(self, rows: Sequence[Any]) -> bytes:
        return bytes(self._batch(rows).serialize())

    def write(self, batches: Iterable[Sequence[Any]], output: BinaryIO) -> None:
        self._write(map(self._batch, batches), pa.PythonFile(output, mode="w"))

    def finish(self, part: Path) -> Path:
        finished = part.with_name(f"{part.name}.parquet")
        with pa.OSFile(str(part), "rb") as source, finished.open("wb") as output:
            self._write(pa.ipc.open_stream(source), output)
            output.flush()
            os.fsync(output.fileno())
        return finished

    def _batch(self, rows: Sequence[Any]) -> pa.RecordBatch:
        cells = zip(*(values(row, self._columns) for row in rows), strict=True)
        return pa.record_batch([list(column) for column in cells], schema=self._schema)

    def _write(self, batches: Iterable[pa.RecordBatch], output: Any) -> None:
        with pq.ParquetWriter(output, self._schema, compression="zstd") as writer:
            for group in batches_of(_GROUP_BATCHES, batches):
                writer.write_table(pa.Table.from_batches(group))
