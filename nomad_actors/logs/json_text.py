"""JSON for people to read, bounded however large or deep the value is: indented, in a line, and in the audit log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from .foreign_text import safe_str
from .redaction import hide_secrets

#: What a page or a terminal shows of one value.
MAX_CHARS = 50_000
#: Beyond this many levels an indented text is mostly blanks: each line begins with twice as many.
MAX_INDENTED_LEVELS = 40
#: The limit of a body in the audit log.
MAX_BODY_CHARS = 2_000
#: Limits for its texts (characters) and lists (entries), tried in this order until the JSON is short enough.
_STEPS = ((2_000, 20), (500, 20), (200, 20), (80, 20), (40, 10), (20, 5))
_ENCODER = json.JSONEncoder(indent=2, ensure_ascii=False, default=safe_str)


class JsonText(NamedTuple):
    """A value as text, and whether that is its beginning only."""

    text: str
    is_cut: bool


def readable(value: object) -> JsonText:
    """Return a value as JSON of at most `MAX_CHARS` characters; one that is nested deeply comes in one line."""
    if levels(value, MAX_INDENTED_LEVELS) == MAX_INDENTED_LEVELS:
        text = one_line(value)
        return JsonText(text[:MAX_CHARS], len(text) > MAX_CHARS)
    parts, size = [], 0
    for part in _ENCODER.iterencode(value):
        parts.append(part)
        size += len(part)
        if size > MAX_CHARS:
            break
    return JsonText("".join(parts)[:MAX_CHARS], size > MAX_CHARS)


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


def shortened_body(value: Any) -> str:
    """Return a body for the audit log: JSON of about `MAX_BODY_CHARS` characters at most, with its secrets hidden.

    All texts and lists are cut step by step, so that one long field does not displace others.
    """
    text = ""
    for most_chars, most_entries in _STEPS:
        text = json.dumps(hide_secrets("", _cut(value, most_chars, most_entries)), ensure_ascii=False)
        if len(text) <= MAX_BODY_CHARS:
            break
    return text


def _cut(value: Any, most_chars: int, most_entries: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most_chars else f"{value[:most_chars]}… ({len(value)} characters)"
    if isinstance(value, dict):
        kept = list(value.items())[:most_entries]
        more = {"…": f"and {len(value) - most_entries} more"} if len(value) > most_entries else {}
        return {name[:most_chars]: _cut(each, most_chars, most_entries) for name, each in kept} | more
    if isinstance(value, list | tuple):
        more_entries = [f"and {len(value) - most_entries} more"] if len(value) > most_entries else []
        return [*(_cut(each, most_chars, most_entries) for each in value[:most_entries]), *more_entries]
    return value
