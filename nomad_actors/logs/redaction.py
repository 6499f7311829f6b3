"""Hides secrets in log lines, error reports, and stored results and errors of jobs.

A secret is recognised because this process knows it literally (`known_secrets`), by the name or syntax around it
(`secret_patterns`), by its own form, and in structured data by the name of its field (`secret_names`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from .foreign_text import came_from_outside, class_name, safe_str
from .known_secrets import KNOWN
from .secret_names import is_plural_name, is_secret_name, looks_secret
from .secret_patterns import find_secrets

HIDDEN = "[hidden]"

#: No pattern matches a text without one of these; checking for them costs a twentieth of running the patterns.
_HINTS = (
    *("token", "secret", "pass", "pwd", "pw", "key", "verifier", "assertion", "credential", "auth", "digest", "aws4"),
    *("bearer", "basic", "cookie", "session", "csrf", "jwt", "dsn", "eyj", "://", "code=", "sig", "nonce", "response"),
    *("-----begin", "-u ", "--user", "setuser", "input_value=", "-cli"),
)

# Before an `@`, in a URL.
_HTTP = r"(?:(?<=http://)|(?<=https://)|(?<=ws://)|(?<=wss://))"
_URLS = (
    # A password in a URL. In HTTP URLs it has no slash, so a number before one is a port; elsewhere it may have one.
    (re.compile(rf"(://{_HTTP}[^\s/:@'\"]*):(?!\d{{1,5}}[/?#])[^\s'\"]{{1,256}}@"), rf"\1:{HIDDEN}@"),
    (re.compile(rf"(://(?!{_HTTP})[^\s/:@'\"]*):(?!\d{{1,5}}(?:/\w*)?\?)[^\s'\"]{{1,256}}@"), rf"\1:{HIDDEN}@"),
    # A long user name without a password, such as the key of a DSN.
    (re.compile(r"(://)[^\s/:@'\"]{16,256}@"), rf"\1{HIDDEN}@"),
)
_LOOKS = (
    # A JWT, or its beginning: base64 of `{"`.
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"), HIDDEN),
    (re.compile(r"\b(bearer\s+|basic\s+(?=\S{16}))[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # Pydantic cuts the middle out of an input: what is left may be the end of a secret, without its name.
    (re.compile(r"(\binput_value=(?>[^\n]{0,80}?\.\.\.))[^\n]{0,80}?(?=, input_type=)"), rf"\1{HIDDEN}"),
    # The authorization code in the SSO's redirect.
    (re.compile(r"([?&]code=)[^\s&'\"]+"), rf"\1{HIDDEN}"),
)

#: A shorter text has no room for a name and a value such as `pw=x`.
_MIN_CHARS = 4
#: At most so much of a word at a cut is dropped: no secret is longer.
_MAX_WORD_CHARS = 2_048
#: Depth, and items of one collection, that are shown where texts are cut.
_MAX_DEPTH, _MAX_ITEMS = 20, 100
#: For a complete value: lists of lists of lists, or a mapping that contains itself twice, would never end.
_MAX_NODES = 10_000
#: For data that is not cut: Python's JSON allows about 900 levels, and a result of 1 MiB has fewer collections.
_MAX_LEVELS, _MAX_COLLECTIONS = 200, 500_000
TOO_DEEP = "nested too deeply to be kept"
#: In stored data, a smaller number is a count or a duration, even in a field with a secret's name.
_MIN_SECRET_NUMBER = 1_000
#: Mappings that have a secret's name in one field and the secret in another: forms, headers, pydantic's errors.
_NAME_KEYS = frozenset({"name", "key", "field", "header", "parameter", "variable", "loc"})
_VALUE_KEYS = frozenset({"value", "input"})
#: Python refuses to format longer integers.
_MAX_BITS = 4_096


def redact(text: str) -> str:
    """Return `text` with the secrets hidden that are known, named or recognised by their form."""
    if len(text) < _MIN_CHARS:
        return text
    text = KNOWN.hide(text, HIDDEN)
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    for pattern, replacement in (*_URLS, *_LOOKS) if "@" in text else _LOOKS:
        text = pattern.sub(replacement, text)
    return _without(text, find_secrets(text))


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return `text` with each span replaced; overlapping spans are merged."""
    parts, at = [], 0
    for start, end in sorted(spans):
        if text.startswith("]", end) and text.endswith(HIDDEN[:-1], start, end):
            # The span ends in an earlier replacement: include its closing bracket.
            end += 1
        if start >= at:
            parts += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join((*parts, text[at:])) if parts else text


def hide_secrets(name: str, value: Any, *, most: int | None = None) -> Any:
    """Return a field's value as JSON data without secrets; other objects become text.

    `most` is the maximum number of characters of a text; if it is given, collections are cut as well.
    """
    return _LineRedactor(most).field(name, value, 0)


def hide_in_data(value: Any) -> Any:
    """Return JSON data without secrets, for a job's result; what is nested too deeply becomes `TOO_DEEP`."""
    return _DataRedactor().field("", value, 0)


def _names_of_entries(entries: list[tuple[Any, Any]], own: str) -> list[str]:
    """Return each value's name: its key, or the secret's name in another entry, or `own`, the mapping's name."""
    beside, names = _name_in(entries), []
    for key, _ in entries:
        name = as_text(key)
        if not is_secret_name(name):
            name = beside if beside and name.lower() in _VALUE_KEYS else own
        names.append(name)
    return names


def _names_of_items(items: list[Any], own: str) -> list[str]:
    """Return each item's name: `own`, the list's name, or the secret's name that is the first item."""
    first = _as_name(items[0]) if len(items) > 1 else ""
    if not is_secret_name(first):
        return [own] * len(items)
    # A pair is a name and its value, as in lists of headers; in longer lists only items that look like secrets count.
    is_pair = len(items) == 2
    return [own, *(first if is_pair or looks_secret(_as_name(each)) else own for each in items[1:])]


def _as_name(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _name_in(entries: list[tuple[Any, Any]]) -> str:
    """Return the secret's name that one of the entries contains, as in `{"name": "password", "value": …}`."""
    for key, value in entries:
        if isinstance(key, str) and key.lower() in _NAME_KEYS:
            # In pydantic's errors, `loc` is a list.
            for each in value if isinstance(value, list | tuple) else (value,):
                if is_secret_name(name := _as_name(each)):
                    return name
    return ""


def _is_secret(name: str, value: Any, least: int = 0) -> bool:
    """Return whether a field's value is a secret; a number below `least` is not."""
    if value is None or isinstance(value, bool) or not is_secret_name(name):
        return False
    if not isinstance(value, int | float):
        return True
    plain = _plain_number(value)
    # In a field with a plural name, a number is a count.
    return not is_plural_name(name) and (isinstance(plain, str) or abs(plain) >= least)


class _LineRedactor:
    """Redacts a value for a log line; it may be deep, large, self-referencing, and of classes that raise anything."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._left = _MAX_NODES

    def field(self, name: str, value: Any, depth: int) -> Any:
        try:
            return self._field(name, value, depth)
        except BaseException as error:
            if came_from_outside(error):
                raise
            # Any operation on a foreign object may fail, even `isinstance`; a collection may change meanwhile.
            return f"unreadable {class_name(value)} ({class_name(error)})"

    def _field(self, name: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if _is_secret(name, value):
            return HIDDEN
        if isinstance(value, int | float):
            return _plain_number(value)
        self._left -= 1
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if depth >= _MAX_DEPTH or self._left <= 0:
                return "..."
            return self._mapping(value, depth + 1) if isinstance(value, Mapping) else self._list(value, depth + 1)
        return self._text(value)

    def _text(self, value: Any) -> str:
        return redact(shortened(as_text(value), self._most))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown, seen = len(value) if self._most is None else _MAX_ITEMS, set[str]()
        entries = list(islice(value.items(), shown))
        found = {
            unused(self._text(key), seen): self.field(name, each, depth)
            for name, (key, each) in zip(_names_of_entries(entries, ""), entries, strict=True)
        }
        return found | ({"...": f"{len(value) - shown} more"} if len(value) > shown else {})

    def _list(self, value: Any, depth: int) -> list[Any]:
        shown = len(value) if self._most is None else _MAX_ITEMS
        items = list(islice(value, shown))
        names = _names_of_items(items, "") if isinstance(value, list | tuple) else [""] * len(items)
        listed = [self.field(name, each, depth) for name, each in zip(names, items, strict=True)]
        return listed + ([f"... {len(value) - shown} more"] if len(value) > shown else [])


class _DataRedactor:
    """Redacts data that is stored complete, except parts that are too deep or, containing themselves, would not end."""

    def __init__(self) -> None:
        self._left = _MAX_COLLECTIONS

    def field(self, name: str, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return HIDDEN if value and is_secret_name(name) else redact(value)
        if isinstance(value, int | float):
            return HIDDEN if _is_secret(name, value, _MIN_SECRET_NUMBER) else value
        if not isinstance(value, dict | list | tuple):
            return value
        self._left -= 1
        if depth >= _MAX_LEVELS or self._left < 0:
            return TOO_DEEP
        if isinstance(value, dict):
            return self._dict(value, name, depth + 1)
        names = _names_of_items(list(value), name)
        items = [self.field(each_name, each, depth + 1) for each_name, each in zip(names, value, strict=True)]
        return items if isinstance(value, list) else tuple(items)

    def _dict(self, value: dict[Any, Any], name: str, depth: int) -> dict[Any, Any]:
        seen, entries = set[str](), list(value.items())
        # A key that is not a text stays as it is: JSON can write some of them, and users' encoders more.
        return {
            unused(redact(key), seen) if isinstance(key, str) else key: self.field(each_name, each, depth)
            for each_name, (key, each) in zip(_names_of_entries(entries, name), entries, strict=True)
        }


def unused(name: str, seen: set[str]) -> str:
    """Return `name`, with underscores appended until it is not in `seen`, and add it to `seen`."""
    while name in seen:
        name += "_"
    seen.add(name)
    return name


def _plain_number(value: float) -> Any:
    """Return a number as JSON can write it: its class may be foreign, and NaN and infinity become text."""
    if isinstance(value, int):
        number = int.__int__(value)
        return number if number.bit_length() <= _MAX_BITS else f"a number of {number.bit_length()} bits"
    plain = float.__float__(value)
    return plain if math.isfinite(plain) else str(plain)


def shortened(text: str, most: int | None) -> str:
    """Return the beginning and the end of a text that is longer than `most` characters.

    A word at the cut is left out: no pattern recognises half a secret.
    """
    if most is None or len(text) <= most:
        return text
    head, tail = text[: most // 2], text[len(text) - most // 2 :]
    end = max(head.rfind(space, len(head) - _MAX_WORD_CHARS) for space in " \n")
    start = min((at for space in " \n" if (at := tail.find(space, 0, _MAX_WORD_CHARS)) >= 0), default=0)
    head, tail = head[: end + 1] or head, tail[start:]
    return f"{head}... {len(text) - len(head) - len(tail)} characters left out ...{tail}"


def as_text(value: Any) -> str:
    """Return a value's text with lone surrogates escaped; if it has no text, a description of the value."""
    text = safe_str(value)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
