"""JSON as a person reads it: indented, and bounded however large or deep the value is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from .foreign_text import safe_str

#: What a page or a terminal shows of one value.
MAX_CHARS = 50_000
#: Beyond this many levels an indented text is mostly blanks: each line begins with twice as many.
MAX_INDENTED_LEVELS = 40
_ENCODER = json.JSONEncoder(indent=2, ensure_ascii=False, default=safe_str)


class JsonText(NamedTuple):
    """A value as text, and whether that is its beginning only."""

    text: str
    is_cut: bool


def readable(value: object, max_chars: int = MAX_CHARS) -> JsonText:
    """Return a value as JSON of at most `max_chars` characters; one that is nested deeply comes in one line."""
    if levels(value, MAX_INDENTED_LEVELS) == MAX_INDENTED_LEVELS:
        text = one_line(value)
        return JsonText(text[:max_chars], len(text) > max_chars)
    parts, size = [], 0
    for part in _ENCODER.iterencode(value):
        parts.append(part)
        size += len(part)
        if size > max_chars:
            break
    return JsonText("".join(parts)[:max_chars], size > max_chars)


def one_line(value: object, *, ascii_only: bool = False) -> str:
    """Return a value as JSON in one line; a note in place of what is nested too deeply for that."""
    try:
        return json.dumps(value, ensure_ascii=ascii_only, default=safe_str)
    except RecursionError:
        return json.dumps("nested too deeply to be shown")


def levels(value: object, most: int) -> int:
    """Return how many lists and objects lie within one another, `most` at most."""
    level, inside = 0, [value]
    while level < most:
        # By identity: a list that holds itself twice must not double at each level.
        inside = list({id(part): part for each in inside for part in _parts(each)}.values())
        if not inside:
            break
        level += 1
    return level


def _parts(value: object) -> list[object]:
    held = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return list(held)
