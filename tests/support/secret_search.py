"""Searches texts for secrets in every form in which a program may have written them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus


def forms(secret: str) -> set[str]:
    """Return the spellings of a secret: in URLs, JSON, HTML, `repr`, base64, and a JWT's own parts."""
    found = {secret, quote(secret, safe=""), quote_plus(secret), html.escape(secret), repr(secret)[1:-1]}
    found |= {json.dumps(secret)[1:-1], json.dumps(json.dumps(secret)[1:-1])[1:-1]}
    found.add(base64.b64encode(secret.encode()).decode().rstrip("="))
    if secret.count(".") == 2:
        # Its header is the same in all of them.
        found |= set(secret.split(".")[1:])
    return found


def leaks(texts: dict[str, str], secrets: Iterable[str]) -> list[str]:
    """Return a line for each text with a secret: the text's name and what is around the secret."""
    spellings = {form for secret in secrets for form in forms(secret)}
    return [line for source, text in texts.items() for line in _leaks_of(source, text, spellings)]


def _leaks_of(source: str, text: str, spellings: set[str]) -> Iterator[str]:
    for form in spellings:
        at = text.find(form)
        if at >= 0:
            yield f"{source}: {text[max(0, at - 300) : at + len(form) + 60]!r}"
