"""Ends a process with the one that started it, however that one ended."""

from __future__ import annotations

import ctypes
import signal

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec a library must not be looked for any more.
_LIBC = ctypes.CDLL(None, use_errno=True)


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that started it ends; without effect off Linux."""
    prctl = getattr(_LIBC, "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(number))
