"""Waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

#: The poll interval at first, and after a second or more, when a starting program needs the processor.
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.005, 0.05


def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 10.0, what: str = "") -> None:
    """Return once `condition` is true; raises `AssertionError` with `what` after `timeout_seconds`."""
    began_mono = time.monotonic()
    while not condition():
        waited_seconds = time.monotonic() - began_mono
        if waited_seconds > timeout_seconds:
            raise AssertionError(f"still not true after {timeout_seconds:g} s: {what or condition}")
        time.sleep(min(MAX_POLL_SECONDS, max(MIN_POLL_SECONDS, waited_seconds / 20)))
