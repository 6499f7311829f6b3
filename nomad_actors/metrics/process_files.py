"""Counts of several worker processes of one service, which outlive each of them.

prometheus-client keeps each process' values in files of a directory when PROMETHEUS_MULTIPROC_DIR names one before it
is imported (`nomad run` does); what a killed process counted is still there. One process of the service shows the sum
of all. It merges the files of dead processes into one, since each scrape reads every file
(https://prometheus.github.io/client_python/multiprocess/).

A fault of the disk costs counts, never a scrape: what cannot be read is left out, and said.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ..logs import get_logger
from ..logs.foreign_text import describe_error
from .place import FILES_LOCK
from .reserved_file import ReservedFile

logger = get_logger("nomad_actors.metrics")

_OURS = re.compile(r"(?:counter|histogram|summary|gauge_[a-z]+)_[0-9]+\.db")
#: Stands for the dead processes in the name of a file: no process has this number.
DEAD = 0
#: Says which files are merged into which, while that is done: a process that is killed meanwhile shall double nothing.
_JOURNAL = "burying.json"


class ProcessFiles(Collector):
    """What the processes of a service counted, the dead among them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: What could not be read at the last scrape; said when it changes.
        self._unread: set[str] = set()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the sums; a gauge is what was set last."""
        try:
            with _locked(self._path, fcntl.LOCK_SH):
                files = _files(self._path)
                faults = {} if (merged := _merged(files)) is not None else _faults(files)
                if merged is None:
                    merged = _merged([name for name in files if name not in faults])
        except OSError as error:
            merged, faults = None, {str(self._path): error}
        self._say(faults)
        return merged or ()

    def bury(self) -> None:
        """Merge the counts of processes that are dead into one file, and forget their gauges.

        Raises `OSError` when the disk does not allow it; nothing is lost then.
        """
        with _locked(self._path, fcntl.LOCK_EX):
            _finish(self._path)
            dead = [name for name in _files(self._path) if not _lives(name)]
            faults = _faults(dead)
            for name, fault in faults.items():
                aside = Path(name).replace(f"{name}.unreadable")
                logger.error("counts of a dead process are lost", file=str(aside), error=describe_error(fault))
            dead = [name for name in dead if name not in faults]
            for kind in ("counter", "histogram"):
                _merge(self._path / f"{kind}_{DEAD}.db", [name for name in dead if Path(name).name.startswith(kind)])
            for name in dead:
                if Path(name).name.startswith("gauge"):
                    Path(name).unlink()

    def _say(self, faults: dict[str, Exception]) -> None:
        for name in faults.keys() - self._unread:
            logger.error("counts cannot be read, and are left out", file=name, error=describe_error(faults[name]))
        for name in self._unread - faults.keys():
            logger.info("counts can be read again, or are gone", file=name)
        self._unread = set(faults)


def _merged(files: Sequence[str]) -> list[Metric] | None:
    """Return the sums of all files; None when one of them cannot be read."""
    try:
        return list(MultiProcessCollector.merge(files, accumulate=True))  # type: ignore[no-untyped-call]
    except Exception:
        # Whatever a damaged file makes of it: struct.error, UnicodeDecodeError, a sum of nonsense.
        return None


def _faults(files: Sequence[str]) -> dict[str, Exception]:
    """Return the files that cannot be read, and why."""
    found: dict[str, Exception] = {}
    for name in files:
        try:
            list(MultiProcessCollector.merge([name]))  # type: ignore[no-untyped-call]
        except Exception as error:
            found[name] = error
    return found


def _merge(into: Path, files: list[str]) -> None:
    if not files or files == [str(into)]:
        return
    unfinished = into.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    merged = ReservedFile(str(unfinished))
    for metric in MultiProcessCollector.merge(files, accumulate=False):  # type: ignore[no-untyped-call]
        for sample in metric.samples:
            labels = sorted(sample.labels)
            values = [sample.labels[label] for label in labels]
            key = mmap_key(metric.name, sample.name, labels, values, metric.documentation)
            merged.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
    merged.close()  # type: ignore[no-untyped-call]
    journal = {"into": into.name, "inode": unfinished.stat().st_ino, "files": [Path(name).name for name in files]}
    place = into.with_name(_JOURNAL)
    place.with_suffix(".new").write_text(json.dumps(journal), encoding="utf-8")
    place.with_suffix(".new").replace(place)
    unfinished.replace(into)
    _finish(into.parent)


def _finish(path: Path) -> None:
    """Remove what was merged already, also by a process that was killed before it did so."""
    for name in _merged_already(path):
        (path / name).unlink(missing_ok=True)
    (path / _JOURNAL).unlink(missing_ok=True)


def _merged_already(path: Path) -> set[str]:
    """Return the names of files whose counts are in a merged file too."""
    try:
        journal = json.loads((path / _JOURNAL).read_text(encoding="utf-8"))
        into = path / str(journal["into"])
        return {*journal["files"]} - {into.name} if into.stat().st_ino == journal["inode"] else set()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # There is none, or it was never finished: then nothing was merged.
        return set()


def _files(path: Path) -> list[str]:
    over = _merged_already(path)
    return sorted(str(file) for file in path.glob("*.db") if _OURS.fullmatch(file.name) and file.name not in over)


def _lives(name: str) -> bool:
    pid = int(Path(name).stem.rpartition("_")[2])
    return pid != DEAD and Path(f"/proc/{pid}").exists()


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with (path / FILES_LOCK).open("a") as lock:
        fcntl.flock(lock, how)
        yield
