"""Lets a process of root obey file permissions like any other user's."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
#: From linux/prctl.h and linux/capability.h.
_PR_CAPBSET_DROP = 24
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def obey_file_rights() -> None:
    """Between fork and exec, drop root's permission to write to any file."""
    if os.getuid() == 0:
        for capability in _OVERRIDES:
            if _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")
