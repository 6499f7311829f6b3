"""Ends a process with the one that started it, however that one ended."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec a library must not be looked for any more.
_LIBC = ctypes.CDLL(None, use_errno=True)

LOOK_SECONDS = 1.0


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
