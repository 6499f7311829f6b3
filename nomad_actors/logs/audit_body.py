"""The form in which the audit log stores a request's body: shortened, and without secrets.

The admin and the command line both use it, so that their entries look the same.
"""

from __future__ import annotations

import json
from typing import Any

from .redaction import hide_secrets

#: The limit for the shortened JSON.
MAX_CHARS = 2_000
#: Limits for texts (characters) and lists (entries), tried in this order until the JSON is short enough.
_STEPS = ((2_000, 20), (500, 20), (200, 20), (80, 20), (40, 10), (20, 5))


def shortened_body(value: Any) -> str:
    """Return a body as JSON of about `MAX_CHARS` characters at most, with its secrets hidden.

    All texts and lists are cut step by step, so that one long field does not displace others.
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
