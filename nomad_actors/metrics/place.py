"""Where the workers of a service show and keep their counts; it is chosen before anything that counts is imported."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from ..processes.private_files import make_directory

#: What prometheus-client reads when it is imported.
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
#: Where the workers' metrics are found when no setting says otherwise.
WORKERS_PORT: Final = 9191
#: Held by whoever reads or merges the files, and by the process that shows their sum.
FILES_LOCK, SERVING_LOCK = "files.lock", "serving.lock"
#: With less room than this on its disk the counts of new processes would soon have none.
LEAST_FREE_BYTES = 16 << 20


def make_place(path: Path) -> str:
    """Make a directory fit for counts; return why it cannot be, '' when it is."""
    try:
        make_directory(path)
        with tempfile.TemporaryFile(dir=path):
            pass
        for lock in (FILES_LOCK, SERVING_LOCK):
            with (path / lock).open("a"):
                pass
        free_bytes = shutil.disk_usage(path).free
    except OSError as error:
        return f"{error.filename or path} cannot be written: {error.strerror}"
    if free_bytes < LEAST_FREE_BYTES:
        return f"the disk of {path} has {free_bytes >> 20} MiB left, less than {LEAST_FREE_BYTES >> 20}"
    return ""
