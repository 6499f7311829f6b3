"""prometheus-client's file of counts, with all of its room reserved: where a disk is full, counts are lost, no process.

The library makes its files with holes and writes to them through memory: filling a hole on a full disk is no error that
Python could handle, the kernel kills the process (SIGBUS).
"""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from ..logs import get_logger

logger = get_logger("nomad_actors.metrics")

#: What the library gives a new file.
FIRST_BYTES = 1 << 16
#: What a value takes beside its key: its length, its padding, the number and its time.
_BESIDE_KEY_BYTES = 4 + 8 + 16


class ReservedFile(MmapedDict):
    """Counts in a file; raises `OSError` where its disk has no room for it."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._f: Any = None
        if not read_mode:
            with open(filename, "a+b") as file:
                _reserve(file, max(FIRST_BYTES, os.fstat(file.fileno()).st_size))
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + _BESIDE_KEY_BYTES
        capacity = self._capacity
        while needed > capacity:
            capacity *= 2
        if capacity > self._capacity:
            _reserve(self._f, capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


class KeptCounts(ReservedFile):
    """Counts of this process: those that have no room in the file are in its memory alone."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._unkept: dict[str, tuple[float, float]] = {}
        try:
            super().__init__(filename, read_mode)
        except OSError as error:
            self._positions: dict[str, int] = {}
            _say(filename, error)

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and when it was set; both are 0 for a new one."""
        if key not in self._positions and not self._makes_room(key):
            return self._unkept.setdefault(key, (0.0, 0.0))
        value, timestamp = super().read_value(key)  # type: ignore[no-untyped-call]
        return value, timestamp

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Keep a value."""
        if key in self._unkept or (key not in self._positions and not self._makes_room(key)):
            self._unkept[key] = value, timestamp
        else:
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _makes_room(self, key: str) -> bool:
        if self._f is None or key in self._unkept:
            return False
        try:
            self._init_value(key)
        except OSError as error:
            _say(self._fname, error)
            return False
        return True


def reserve_files() -> None:
    """Have prometheus-client keep this process' counts in files of ours, from the next one on."""
    values.MmapedDict = KeptCounts  # type: ignore[attr-defined]


def _reserve(file: Any, size: int) -> None:
    os.posix_fallocate(file.fileno(), 0, size)


_said: set[str] = set()


def _say(filename: str, error: OSError) -> None:
    """Say once a process and file that counts are not kept."""
    if filename not in _said:
        _said.add(filename)
        logger.error("counts are not kept: they have no room", file=filename, error=f"{error.strerror or error}")
