"""Export of a character's history to CSV, NDJSON or Parquet: exact, in constant memory, resumable."""

from __future__ import annotations

from .exporter import Export, Progress
from .formats import FORMATS
from .kinds import KINDS

__all__ = ["FORMATS", "KINDS", "Export", "Progress"]
