"""Optional programs that some tests need."""

from __future__ import annotations

import shutil

import pytest


def program(name: str) -> str:
    """Return the path of an optional program; skip the test if it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
