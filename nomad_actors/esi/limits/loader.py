"""The limiter's Lua scripts, each with the keys, kinds of brakes and functions that all of them share."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from .brakes import BrakeKind
from .keys import KEYS


@lru_cache
def script(name: str) -> str:
    """Return the complete text of a script."""
    folder = resources.files(__package__) / "scripts"
    texts = [(folder / f"{file}.lua").read_text(encoding="utf-8") for file in ("lib", name)]
    return "\n".join(
        ["local KEY = {", *(f"  {name} = {_in_lua(key.suffix)}," for name, key in KEYS.items()), "}", _kinds(), *texts]
    )


def _kinds() -> str:
    return f"local KIND = {{ {', '.join(f'{kind.name} = {str(kind)!r}' for kind in BrakeKind)} }}"


def _in_lua(suffix: str) -> str:
    if "{}" not in suffix:
        return f"KEYS[1] .. ':{suffix}'"
    before, after = suffix.split("{}")
    return f"function(part) return KEYS[1] .. ':{before}' .. part .. '{after}' end"
