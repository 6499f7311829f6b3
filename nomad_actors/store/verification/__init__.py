"""Checks that the stored history agrees with itself and with what it claims to be complete."""

from __future__ import annotations

from .problem import Kind, Problem
from .verifier import Verifier

__all__ = ["Kind", "Problem", "Verifier"]
