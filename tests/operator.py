"""The header of this machine's operator, for tests that ask an admin where no tokens are configured."""

from __future__ import annotations

from pathlib import Path

from nomad_actors.store.local_token import read_or_make_token


def as_operator(var_dir: Path) -> dict[str, str]:
    """Return the header with the token in a directory, which is created if it is missing."""
    return {"Authorization": f"Bearer {read_or_make_token(var_dir)}"}
