"""Waiting for an event with a deadline, in place of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_SECONDS = 0.005


def wait_until(condition: Callable[[], object], *, timeout_seconds: float = 10.0, what: str = "") -> None:
    """Return as soon as `condition` holds.

    Raises `AssertionError`, saying `what` was waited for, when it does not within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {timeout_seconds:g} s: {what or condition}")
        time.sleep(LOOK_SECONDS)
