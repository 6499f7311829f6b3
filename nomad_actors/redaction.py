"""Keeps secrets out of what people read: log lines, error reports, and what is stored of a job's run.

A secret is hidden where this process knows it literally (`known_secrets`), where a name or a form gives it away
(`secret_patterns`), by its own looks, and in structured data by the name of its field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from .known_secrets import KNOWN
from .secret_patterns import find_secrets, is_secret_name

HIDDEN = "[hidden]"

#: Without one of these no pattern finds anything; to look for them costs a twentieth of it.
_HINTS = (
    *("token", "secret", "pass", "pwd", "pw", "key", "verifier", "assertion", "credential", "auth", "digest", "aws4"),
    *("bearer", "basic", "cookie", "session", "csrf", "jwt", "dsn", "eyj", "://", "code=", "sig", "nonce", "response"),
    *("-----begin", "-u ", "--user", "setuser"),
)

_LOOKS = (
    # A JWT, or its beginning: base64 of `{"`.
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"), HIDDEN),
    (re.compile(r"\b(bearer\s+|basic\s+(?=\S{16}))[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # A password in a URL. HTTP's has no slash, so that what comes before one is a port; others' may have any.
    (re.compile(r"((?:https?|wss?)://[^\s/:@'\"]*):(?!\d{1,5}[/?#])[^\s'\"]{1,256}@", re.IGNORECASE), rf"\1:{HIDDEN}@"),
    (re.compile(r"((?<!http)(?<!https)(?<!ws)(?<!wss)://[^\s/:@'\"]*):(?!\d{1,5}(?:/\w*)?\?)[^\s'\"]{1,256}@"), rf"\1:{HIDDEN}@"),
    # What stands there alone and is long, as the key of a DSN.
    (re.compile(r"(://)[^\s/:@'\"]{16,256}@"), rf"\1{HIDDEN}@"),
    # What the SSO's redirect brings.
    (re.compile(r"([?&]code=)[^\s&'\"]+"), rf"\1{HIDDEN}"),
)

#: Of a word at a cut no more than this is thrown away: what is longer is no secret that anybody would have.
_MOST_OF_A_WORD = 2_048
#: How far down, and how many items of one collection, are shown where texts are cut.
_MOST_DEEP, _MOST_ITEMS = 20, 100
#: Numbers of more digits are no numbers that anybody reads; Python itself refuses to write them.
_MOST_DIGITS_BITS = 4_096


def redact(text: str) -> str:
    """Return `text` without the secrets that are known, named or recognised in it."""
    text = KNOWN.hide(text, HIDDEN)
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    return _without(text, find_secrets(text))


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return `text` with each span replaced; what overlaps is replaced as one."""
    parts, at = [], 0
    for start, end in sorted(spans):
        if text.startswith("]", end) and text.endswith(HIDDEN[:-1], start, end):
            # What was hidden before is hidden as a whole.
            end += 1
        if start >= at:
            parts += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join((*parts, text[at:])) if parts else text


def hide_secrets(name: str, value: Any, *, most: int | None = None, deep: int = 0) -> Any:
    """Return a field's value as plain data without secrets, as far down as it goes; other objects become text.

    With `most`, a text is cut to so many characters, and collections to what fits a line.
    """
    if value is None or isinstance(value, bool):
        return value
    if is_secret_name(name) and not isinstance(value, int | float):
        return HIDDEN
    if isinstance(value, int | float):
        return _plain_number(value)
    try:
        if deep < _MOST_DEEP and isinstance(value, Mapping):
            return dict(_hidden_items(value, most, deep))
        if deep < _MOST_DEEP and isinstance(value, list | tuple | set | frozenset):
            return _hidden_list(value, most, deep)
    except Exception as error:
        # A collection of somebody else's may fail, or change while it is read.
        return f"unreadable {type(value).__name__} ({type(error).__name__})"
    return redact(shortened(as_text(value), most))


def _plain_number(value: float) -> Any:
    """Return a number as JSON may hold it: its own type and text may be somebody else's."""
    if isinstance(value, float):
        plain = float.__float__(value)
        return plain if plain - plain == 0 else float.__repr__(plain)
    whole = int.__int__(value)
    return whole if whole.bit_length() <= _MOST_DIGITS_BITS else f"a number of {whole.bit_length()} bits"


def _hidden_items(value: Mapping[Any, Any], most: int | None, deep: int) -> Iterator[tuple[str, Any]]:
    shown = len(value) if most is None else _MOST_ITEMS
    seen: set[str] = set()
    for key, each in islice(value.items(), shown):
        name = unused(redact(shortened(as_text(key), most)), seen)
        yield name, hide_secrets(as_text(key), each, most=most, deep=deep + 1)
    if len(value) > shown:
        yield "...", f"{len(value) - shown} more"


def unused(name: str, seen: set[str]) -> str:
    """Return `name`, or with underscores after it when it was taken, and take it."""
    while name in seen:
        name += "_"
    seen.add(name)
    return name


def _hidden_list(value: Any, most: int | None, deep: int) -> list[Any]:
    shown = len(value) if most is None else _MOST_ITEMS
    items = list(islice(value, shown))
    if len(items) == 2 and isinstance(value, list | tuple) and isinstance(items[0], str | bytes):
        # A secret with its name before it, as headers are listed.
        name = items[0].decode(errors="replace") if isinstance(items[0], bytes) else items[0]
        if is_secret_name(name):
            return [name, hide_secrets(name, items[1], most=most, deep=deep + 1)]
    listed = [hide_secrets("", each, most=most, deep=deep + 1) for each in items]
    return listed + ([f"... {len(value) - shown} more"] if len(value) > shown else [])


def hide_in_data(value: Any, name: str = "") -> Any:
    """Return JSON data with the same fields and types, each text without secrets: what is stored of a result."""
    if isinstance(value, str):
        return HIDDEN if value and is_secret_name(name) else redact(value)
    if isinstance(value, dict):
        return {key: hide_in_data(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [hide_in_data(each, name) for each in value]
    return value


def shortened(text: str, most: int | None) -> str:
    """Return the beginning and the end of a text that is longer than `most` characters.

    A word that the cut falls into is left out: half a secret no pattern knows.
    """
    if most is None or len(text) <= most:
        return text
    head, tail = text[: most // 2], text[len(text) - most // 2 :]
    end = max(head.rfind(space, len(head) - _MOST_OF_A_WORD) for space in " \n")
    start = min((at for space in " \n" if (at := tail.find(space, 0, _MOST_OF_A_WORD)) >= 0), default=0)
    head, tail = head[: end + 1] or head, tail[start:]
    return f"{head}... {len(text) - len(head) - len(tail)} characters left out ...{tail}"


def as_text(value: Any) -> str:
    """Return a value's own text; of one that has none, what it is."""
    try:
        text = str(value)
        # A subclass of str may have been returned, with methods of its own.
        return text if type(text) is str else str.__str__(text)
    except BaseException as error:
        return f"unprintable {type(value).__name__} ({type(error).__name__})"
