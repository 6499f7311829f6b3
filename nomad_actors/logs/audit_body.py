"""What the audit log keeps of a request's body: short, without secrets, and still whole where it can be.

Used by the admin and by the command, so that both leave the same.
"""

from __future__ import annotations

import json
from typing import Any

from .redaction import hide_secrets

#: What the shortened JSON may have, and how its texts and lists are cut until it does.
MAX_CHARS = 2_000
_STEPS = ((2_000, 20), (500, 20), (200, 20), (80, 20), (40, 10), (20, 5))


def body_in_short(value: Any) -> str:
    """Return a body's value as JSON of at most `MAX_CHARS` characters, its secrets hidden.

    Long texts and lists are cut before anything is left out: no field hides another by its length.
    """
    text = ""
    for most_chars, most_entries in _STEPS:
        text = json.dumps(hide_secrets("", _cut(value, most_chars, most_entries)), ensure_ascii=False)
        if len(text) <= MAX_CHARS:
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
