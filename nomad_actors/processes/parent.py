"""Between a process and the one that started it: it ends with that one, and says when it is ready."""

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
# Loaded here: between fork and exec a library must not be looked for any more.
_LIBC = ctypes.CDLL(None, use_errno=True)

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Readiness:
    """Whether a program can be used; until then `progress` changes for as long as its start gets on."""

    ready: bool
    progress: object = None


class Foundation(Protocol):
    """What a supervisor asks about a program that others need."""

    def readiness(self, pid: int) -> Readiness:
        """Return how far the process has come; called until it is ready, must answer within a second or two."""

    def last_words(self) -> str:
        """Return why its last process ended, as far as it said so."""


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; without effect off Linux."""
    prctl = getattr(_LIBC, "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def stop_with_parent(grace_seconds: float) -> None:
    """Stop this process, by SIGTERM and `grace_seconds` later for certain, once its parent is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        # What waits for the parent would wait for ever.
        os._exit(1)

    threading.Thread(target=watch, name="nomad-parent-watch", daemon=True).start()
