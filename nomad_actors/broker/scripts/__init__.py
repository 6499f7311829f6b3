"""The Lua scripts by name, assembled once from their files.

A script is preceded by the includes that it names (``-- include: record queue``), and these by definitions from Python:
the keys that the text uses (``KEY.waiting``, from `keys.py`), those of the states' indexes (``INDEX[state]``), and the
constants that it names (``-- constants: MAX_CRASHES``, from `constants.py` and the retention's defaults).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources

from ...retention import Retention
from .. import constants, keys
from ..states import State

_INCLUDE = re.compile(r"^-- include: (.+)$", re.MULTILINE)
_CONSTANTS = re.compile(r"^-- constants: (.+)$", re.MULTILINE)
_KEY = re.compile(r"\bKEY\.(\w+)")

#: The constants that a script may use, as Lua text.
CONSTANTS: Mapping[str, str] = {
    **{name: str(value) for name, value in vars(constants).items() if name.isupper()},
    "PRIORITY_STEP": str(keys.PRIORITY_STEP),
    "TICK": f"'{keys.TICK_FIELD.decode()}'",
    **{f"KEEP_{name.upper()}": str(value) for name, value in asdict(Retention()).items()},
}
#: The states with a sorted set; active jobs have no order, so they are in a hash.
_INDEXES = [state for state in State if keys.QUEUE_KEYS[state].type == "zset"]


@dataclass(frozen=True, slots=True)
class Script:
    """One script as it is sent to Redis."""

    source: bytes
    sha: bytes


def _assemble(name: str) -> Script:
    folder = resources.files(__package__)
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    included = [name for line in _INCLUDE.findall(text) for name in line.split()]
    includes = [(folder / "lib" / f"{name}.lua").read_text(encoding="utf-8") for name in included]
    body = "\n".join([*includes, text])
    source = f"{_declarations(body)}\n{body}".encode()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


def _declarations(text: str) -> str:
    named = dict.fromkeys(name for line in _CONSTANTS.findall(text) for name in line.split())
    used = dict.fromkeys([*_INDEXES, *_KEY.findall(text)])
    lines = [f"local {name} = {CONSTANTS[name]}" for name in named]
    lines += ["local BASE = KEYS[1]", "local KEY = {", *(f"  {name} = {_in_lua(name)}," for name in used), "}"]
    lines.append(f"local INDEX = {{ {', '.join(f'{state} = KEY.{state}' for state in _INDEXES)} }}")
    return "\n".join(lines)


def _in_lua(name: str) -> str:
    key = keys.QUEUE_KEYS[name]
    if not key.is_family:
        return f"BASE .. ':{key.suffix}'"
    before, after = key.suffix.split("{}")
    return f"function(part) return BASE .. ':{before}' .. part" + (f" .. '{after}' end" if after else " end")


@lru_cache(maxsize=1)
def scripts() -> Mapping[str, Script]:
    """Return all scripts by the names of their files."""
    files = [entry.name for entry in resources.files(__package__).iterdir() if entry.name.endswith(".lua")]
    return {name: _assemble(name) for name in sorted(file.removesuffix(".lua") for file in files)}
