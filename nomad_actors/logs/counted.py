"""Counts in English sentences."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 job` or `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def verb_for(count: int, singular: str, plural: str) -> str:
    """Return the form of a word that agrees with a count, such as `was` or `were`."""
    return singular if count == 1 else plural
