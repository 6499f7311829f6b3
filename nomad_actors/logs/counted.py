"""Numbers of things in words."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a number of things, as `1 job` or `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def agreeing(count: int, singular: str, plural: str) -> str:
    """Return the word that goes with a number of things, as `was` or `were`."""
    return singular if count == 1 else plural
