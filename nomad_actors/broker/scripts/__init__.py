"""The Lua scripts: read from their files once, put together from their includes, known by name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

_INCLUDE = re.compile(r"^-- include: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One script, as Redis is given it."""

    name: str
    source: bytes
    sha: bytes


def _assemble(name: str) -> Script:
    folder = resources.files(__package__)
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    included = [name for line in _INCLUDE.findall(text) for name in line.split()]
    parts = [(folder / "lib" / f"{name}.lua").read_text(encoding="utf-8") for name in included]
    source = "\n".join([*parts, text]).encode()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


@lru_cache(maxsize=1)
def scripts() -> Mapping[str, Script]:
    """Return every script by its file's name."""
    files = [entry.name for entry in resources.files(__package__).iterdir() if entry.name.endswith(".lua")]
    return {name: _assemble(name) for name in sorted(file.removesuffix(".lua") for file in files)}
