"""Counts of several worker processes of one service, which outlive each of them.

prometheus-client keeps each process' values in files of a directory when PROMETHEUS_MULTIPROC_DIR names one before it
is imported (`nomad run` does); what a killed process counted is still there. One process of the service shows the sum
of all. It merges the files of dead processes into one, since each scrape reads every file
(https://prometheus.github.io/client_python/multiprocess/).
"""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ..log import get_logger

logger = get_logger("nomad_actors.metrics")

#: What prometheus-client reads when it is imported.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: Less room than this on its disk, and a process that writes counts could be killed by the kernel (SIGBUS).
LEAST_FREE_BYTES = 16 << 20
_OURS = re.compile(r"(?:counter|histogram|summary|gauge_[a-z]+)_[0-9]+\.db")
#: Stands for the dead processes in the name of a file: no process has this number.
DEAD = 0


def make_place(path: Path) -> str:
    """Make a directory fit for counts; return why it cannot be, '' when it is."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}"
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < LEAST_FREE_BYTES:
        return f"the disk of {path} has {free_bytes >> 20} MiB left, less than {LEAST_FREE_BYTES >> 20}"
    return ""


class ProcessFiles(Collector):
    """What the processes of a service counted, the dead among them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the sums; a gauge is what was set last."""
        with _locked(self._path, fcntl.LOCK_SH):
            merged: Iterable[Metric] = MultiProcessCollector.merge(_files(self._path), accumulate=True)  # type: ignore[no-untyped-call]
            return merged

    def bury(self) -> None:
        """Merge the counts of processes that are dead into one file, and forget their gauges."""
        with _locked(self._path, fcntl.LOCK_EX):
            dead = [name for name in _files(self._path) if not _lives(name) and _is_readable(name)]
            for kind in ("counter", "histogram"):
                _merge(self._path / f"{kind}_{DEAD}.db", [name for name in dead if Path(name).name.startswith(kind)])
            for name in dead:
                if not name.endswith(f"_{DEAD}.db"):
                    Path(name).unlink()


def _merge(into: Path, files: list[str]) -> None:
    if not files or files == [str(into)]:
        return
    unfinished = into.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    merged = MmapedDict(str(unfinished))  # type: ignore[no-untyped-call]
    for metric in MultiProcessCollector.merge(files, accumulate=False):  # type: ignore[no-untyped-call]
        for sample in metric.samples:
            labels = sorted(sample.labels)
            values = [sample.labels[label] for label in labels]
            key = mmap_key(metric.name, sample.name, labels, values, metric.documentation)
            merged.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
    merged.close()  # type: ignore[no-untyped-call]
    # Killed between this and the end of `bury`, the dead are counted twice from then on: too much, never too little.
    unfinished.replace(into)


def _files(path: Path) -> list[str]:
    return sorted(str(file) for file in path.glob("*.db") if _OURS.fullmatch(file.name))


def _is_readable(name: str) -> bool:
    """Return whether a file can be read; one that cannot, after a fault of the disk, is put aside."""
    try:
        MultiProcessCollector.merge([name])  # type: ignore[no-untyped-call]
    except Exception as error:
        aside = Path(name).replace(f"{name}.unreadable")
        logger.error("counts of a dead process are lost", file=str(aside), error=f"{type(error).__name__}: {error}")
        return False
    return True


def _lives(name: str) -> bool:
    pid = int(Path(name).stem.rpartition("_")[2])
    return pid != DEAD and Path(f"/proc/{pid}").exists()


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with (path / "files.lock").open("a") as lock:
        fcntl.flock(lock, how)
        yield
