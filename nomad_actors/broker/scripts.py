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


def _source(name: str) -> str:
    return (resources.files(__package__) / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


def _assemble(name: str) -> Script:
    text = _source(name)
    includes = _INCLUDE.findall(text)
    parts = [_source(part) for line in includes for part in line.split()]
    source = "\n".join([*parts, text]).encode()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


@lru_cache(maxsize=1)
def scripts() -> Mapping[str, Script]:
    """Return every script by its file's name."""
    folder = resources.files(__package__) / "scripts"
    names = [entry.name.removesuffix(".lua") for entry in folder.iterdir()]
    return {name: _assemble(name) for name in sorted(names) if not name.startswith("_")}
