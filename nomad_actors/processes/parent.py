"""What links a process to its parent: it ends with the parent, and reports when it is ready."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Protocol

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Loaded at import: no library may be searched for between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True)

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Readiness:
    """Whether a program is ready; until then, `progress` changes while its start makes progress."""

    ready: bool
    progress: object = None


class Dependency(Protocol):
    """A program that others need, as a supervisor sees it."""

    def readiness(self, pid: int) -> Readiness:
        """Return the state of the process; called until it is ready, must return within a second or two."""

    def last_log_lines(self) -> str:
        """Return why its last process ended, as far as its own output shows."""


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; only on Linux."""
    prctl = getattr(_LIBC, "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def stop_with_parent(grace_seconds: float) -> None:
    """Send this process SIGTERM once its parent is gone, and end it by force after `grace_seconds`."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        # Code that waits for the parent would wait forever.
        os._exit(1)

    threading.Thread(target=watch, name="nomad-parent-watch", daemon=True).start()
