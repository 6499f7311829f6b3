"""The authorization header of this machine's operator, for tests of an admin without configured tokens."""

from __future__ import annotations

from pathlib import Path

from nomad_actors.store.local_token import read_or_make_token


def as_operator(var_dir: Path) -> dict[str, str]:
    """Return the header with the token in a directory, which is created if it is missing."""
    return {"Authorization": f"Bearer {read_or_make_token(var_dir)}"}
