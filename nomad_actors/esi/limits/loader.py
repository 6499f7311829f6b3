"""The limiter's Lua scripts, each with the keys and functions that all of them share."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from .keys import KEYS


@lru_cache
def script(name: str) -> str:
    """Return the complete text of a script."""
    folder = resources.files(__package__) / "scripts"
    texts = [(folder / f"{file}.lua").read_text(encoding="utf-8") for file in ("lib", name)]
    return "\n".join(
        ["local KEY = {", *(f"  {name} = {_in_lua(key.suffix)}," for name, key in KEYS.items()), "}", *texts]
    )


def _in_lua(suffix: str) -> str:
    if "{}" not in suffix:
        return f"KEYS[1] .. ':{suffix}'"
    before, after = suffix.split("{}")
    return f"function(part) return KEYS[1] .. ':{before}' .. part .. '{after}' end"
