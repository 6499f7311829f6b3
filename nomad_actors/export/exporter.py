"""Writes an export to a file, which it can continue after a crash, or to a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..data import Data
from ..errors import WrongState
from ..store.database import Database
from .batches import batches_of
from .columns import Columns
from .formats import FORMATS, Format
from .kinds import KINDS, Kind, Range
from .part_file import Done, PartFile, completed, part_file

#: Rows that are written at once, each time with a point from which the export can be continued.
BATCH_ROWS = 10_000


#: Called with the rows that are written now and the number of all, if it is known.
Progress = Callable[[int, int | None], object]


@dataclass(frozen=True)
class Written:
    """An export that is complete: its rows, of which `continued` had been written before."""

    rows: int
    continued: int = 0


@dataclass(frozen=True)
class Export:
    """The rows of one kind of one character in a format; raises `UnknownCharacter`, `Unavailable`, `OSError`."""

    data: Data
    database: Database
    character_id: int
    kind: str
    format: str
    span: Range = field(default_factory=Range)

    def to_stream(self, output: BinaryIO, progress: Progress) -> Written:
        """Write all rows to a stream."""
        rows = 0
        # Read first: an unknown character leaves no header.
        self._batches(None)

        def counted() -> Iterator[Sequence[Any]]:
            nonlocal rows
            total = self._count()
            for batch in self._batches(None):
                yield batch
                rows += len(batch)
                progress(rows, total)

        self._encoder().write(counted(), output)
        return Written(rows)

    def to_file(self, target: Path, progress: Progress, *, force: bool = False) -> Written:
        """Write all rows to a file; the same export that was killed before continues where it was.

        The target is there only when it is complete. Raises `WrongState` if it is there already, or if the part file
        is of another export, unless `force` is set; also if another process is writing it.
        """
        if (ended := completed(target)) is not None and ended.export == self._identity() and not force:
            return Written(ended.rows, continued=ended.rows)
        self._refuse(target, force=force)
        encoder = self._encoder()
        # Read first: an unknown character leaves no file.
        total = self._count()
        self._batches(None)
        with part_file(target) as part:
            begun = self._begin(part, encoder, force=force)
            done = self._append_rows(part, encoder, begun, progress, total)
            while self._kind.never_change and done.cursor is not None and not self._is_unchanged(done):
                # Before the end of what was written a hole was filled or a row corrected meanwhile.
                begun = self._begin_anew(part, encoder)
                done = self._append_rows(part, encoder, begun, progress, total)
            finished = encoder.finish(part.path)
            self._refuse(target, force=force)
            part.replace_with(done, finished, target)
        return Written(done.rows, continued=begun.rows)

    def _append_rows(self, part: PartFile, encoder: Format, begun: Done, progress: Progress, total: int | None) -> Done:
        """Write all rows after `begun`; return how far the file has come then."""
        progress(begun.rows, total)
        done = begun
        for batch in self._batches(begun.cursor):
            done = part.append(done, encoder.encode(batch), len(batch), getattr(batch[-1], "cursor", None))
            progress(done.rows, total)
        return done

    def _refuse(self, target: Path, *, force: bool) -> None:
        if target.exists() and not force:
            raise WrongState(f"{target} exists: name another file, or replace it with --force")

    def _begin(self, part: PartFile, encoder: Format, *, force: bool) -> Done:
        """Return the point to continue from, with everything after it cut off."""
        found, export = part.done(), self._identity()
        if found is None and not part.is_empty and not force:
            raise WrongState(f"{part.path} was not written by an export: delete it, or replace it with --force")
        if found is not None and found.export != export and not force:
            raise WrongState(f"{part.path} is of another export: finish or delete it, or replace it with --force")
        if found is not None and found.export == export and self._is_unchanged(found):
            part.begin(found)
            return found
        return self._begin_anew(part, encoder)

    def _begin_anew(self, part: PartFile, encoder: Format) -> Done:
        """Return the point before the first row, with everything cut off."""
        begun = Done(self._identity(), self._kind.corrections(self.database, self.character_id))
        part.begin(begun)
        return part.append(begun, encoder.head(), 0, None)

    def _is_unchanged(self, done: Done) -> bool:
        """Return whether the rows that were written are still those of the history."""
        if done.cursor is None or not self._kind.never_change:
            return False
        rows = self._kind.count(self.database, self.character_id, self.span, until=done.cursor)
        return rows == done.rows and self._kind.corrections(self.database, self.character_id) == done.corrections

    def _identity(self) -> dict[str, Any]:
        span = {"from_ms": self.span.from_ms, "to_ms": self.span.to_ms}
        columns = [*Columns(self._kind.row).names]
        return {
            "database": self.database.url.render_as_string(),
            "character_id": self.character_id,
            "kind": self.kind,
            "format": self.format,
            **span,
            "columns": columns,
        }

    def _batches(self, after: str | None) -> Iterator[Sequence[Any]]:
        return batches_of(BATCH_ROWS, self._kind.rows(self.data, self.character_id, self.span, after))

    def _count(self) -> int | None:
        return self._kind.count(self.database, self.character_id, self.span)

    def _encoder(self) -> Format:
        return FORMATS[self.format](Columns(self._kind.row))

    @property
    def _kind(self) -> Kind:
        return KINDS[self.kind]
