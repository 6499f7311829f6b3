"""Waiting for an event with a deadline, in place of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable

#: How often it is looked at: at first, and after a second or more, when a program that starts needs the processor.
LOOK_SECONDS, MAX_LOOK_SECONDS = 0.005, 0.05


def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 10.0, what: str = "") -> None:
    """Return as soon as `condition` holds.

    Raises `AssertionError`, saying `what` was waited for, when it does not within `timeout_seconds`.
    """
    began_mono = time.monotonic()
    while not condition():
        waited_seconds = time.monotonic() - began_mono
        if waited_seconds > timeout_seconds:
            raise AssertionError(f"still not so after {timeout_seconds:g} s: {what or condition}")
        time.sleep(min(MAX_LOOK_SECONDS, max(LOOK_SECONDS, waited_seconds / 20)))
