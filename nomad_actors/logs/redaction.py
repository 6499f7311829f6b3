"""Keeps secrets out of what people read: log lines, error reports, and what is stored of a job's run.

A secret is hidden where this process knows it literally (`known_secrets`), where a name or a form gives it away
(`secret_patterns`), by its own looks, and in structured data by the name of its field (`secret_names`).
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

#: Without one of these no pattern finds anything; to look for them costs a twentieth of it.
_HINTS = (
    *("token", "secret", "pass", "pwd", "pw", "key", "verifier", "assertion", "credential", "auth", "digest", "aws4"),
    *("bearer", "basic", "cookie", "session", "csrf", "jwt", "dsn", "eyj", "://", "code=", "sig", "nonce", "response"),
    *("-----begin", "-u ", "--user", "setuser", "input_value=", "-cli"),
)

# Before an `@`, in a URL.
_HTTP = r"(?:(?<=http://)|(?<=https://)|(?<=ws://)|(?<=wss://))"
_URLS = (
    # A password in a URL. In HTTP's none has a slash, so that a number before one is a port; in others' any may.
    (re.compile(rf"(://{_HTTP}[^\s/:@'\"]*):(?!\d{{1,5}}[/?#])[^\s'\"]{{1,256}}@"), rf"\1:{HIDDEN}@"),
    (re.compile(rf"(://(?!{_HTTP})[^\s/:@'\"]*):(?!\d{{1,5}}(?:/\w*)?\?)[^\s'\"]{{1,256}}@"), rf"\1:{HIDDEN}@"),
    # What stands there alone and is long, as the key of a DSN.
    (re.compile(r"(://)[^\s/:@'\"]{16,256}@"), rf"\1{HIDDEN}@"),
)
_LOOKS = (
    # A JWT, or its beginning: base64 of `{"`.
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"), HIDDEN),
    (re.compile(r"\b(bearer\s+|basic\s+(?=\S{16}))[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # What pydantic leaves of an input's middle may be a secret's end, without its name.
    (re.compile(r"(\binput_value=(?>[^\n]{0,80}?\.\.\.))[^\n]{0,80}?(?=, input_type=)"), rf"\1{HIDDEN}"),
    # What the SSO's redirect brings.
    (re.compile(r"([?&]code=)[^\s&'\"]+"), rf"\1{HIDDEN}"),
)

#: A shorter text has no room for a name and a value, as `pw=x y`.
_LEAST_CHARACTERS = 4
#: Of a word at a cut no more than this is thrown away: what is longer is no secret that anybody would have.
_MOST_OF_A_WORD = 2_048
#: How far down, and how many items of one collection, are shown where texts are cut.
_MOST_DEEP, _MOST_ITEMS = 20, 100
#: Of a value all in all: a list of lists of lists, or a mapping that is in itself twice, would not end.
_MOST_NODES = 10_000
#: Of data that is kept whole: Python's JSON takes about 900 levels, and a result of 1 MiB has fewer collections.
_MOST_LEVELS, _MOST_COLLECTIONS = 200, 500_000
TOO_DEEP = "nested too deeply to be kept"
#: In data, a smaller number is a count or a duration, whatever its field is called.
_LEAST_SECRET_NUMBER = 1_000
#: The fields of a mapping that has a secret's name in one and the secret in another: forms, headers, pydantic's errors.
_NAME_KEYS = frozenset({"name", "key", "field", "header", "parameter", "variable", "loc"})
_VALUE_KEYS = frozenset({"value", "input"})
#: Python itself writes no longer number.
_MOST_BITS = 4_096


def redact(text: str) -> str:
    """Return `text` without the secrets that are known, named or recognised in it."""
    if len(text) < _LEAST_CHARACTERS:
        return text
    text = KNOWN.hide(text, HIDDEN)
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    for pattern, replacement in (*_URLS, *_LOOKS) if "@" in text else _LOOKS:
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


def hide_secrets(name: str, value: Any, *, most: int | None = None) -> Any:
    """Return a field's value as plain data that JSON takes, without secrets; other objects become text.

    With `most`, a text is cut to so many characters, and collections to what fits a line.
    """
    return _InLines(most).field(name, value, 0)


def hide_in_data(value: Any) -> Any:
    """Return JSON data with the same fields, without secrets: what is stored of a result.

    What lies deeper than 200 levels is replaced by a note.
    """
    return _InData().field("", value, 0)


def _names_of_entries(entries: list[tuple[Any, Any]], own: str) -> list[str]:
    """Return each value's name: its key, or a secret's name beside it, or `own`, which is the mapping's."""
    beside, names = _name_in(entries), []
    for key, _ in entries:
        name = as_text(key)
        if not is_secret_name(name):
            name = beside if beside and name.lower() in _VALUE_KEYS else own
        names.append(name)
    return names


def _names_of_items(items: list[Any], own: str) -> list[str]:
    """Return each item's name: `own`, which is the list's, or the secret's name that the list begins with."""
    first = _as_name(items[0]) if len(items) > 1 else ""
    if not is_secret_name(first):
        return [own] * len(items)
    # A pair, as headers are listed; among more items only what looks like a secret is one.
    is_pair = len(items) == 2
    return [own, *(first if is_pair or looks_secret(_as_name(each)) else own for each in items[1:])]


def _as_name(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _name_in(entries: list[tuple[Any, Any]]) -> str:
    """Return the secret's name that an entry of a mapping is, as in `{"name": "password", "value": …}`."""
    for key, value in entries:
        if isinstance(key, str) and key.lower() in _NAME_KEYS:
            # Where pydantic's errors are is a list.
            for each in value if isinstance(value, list | tuple) else (value,):
                if is_secret_name(name := _as_name(each)):
                    return name
    return ""


def _is_secret(name: str, value: Any, least: int = 0) -> bool:
    """Return whether the value of a field of this name is a secret; a number below `least` is not."""
    if value is None or isinstance(value, bool) or not is_secret_name(name):
        return False
    if not isinstance(value, int | float):
        return True
    plain = _plain_number(value)
    # Of many secrets a number is how many there are.
    return not is_plural_name(name) and (isinstance(plain, str) or abs(plain) >= least)


class _InLines:
    """A walk through a value that may be deep, large, within itself, and of classes that raise anything."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._left = _MOST_NODES

    def field(self, name: str, value: Any, deep: int) -> Any:
        try:
            return self._field(name, value, deep)
        except BaseException as error:
            if came_from_outside(error):
                raise
            # Whatever is asked of somebody else's object may fail, `isinstance` too; a collection may change meanwhile.
            return f"unreadable {class_name(value)} ({class_name(error)})"

    def _field(self, name: str, value: Any, deep: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if _is_secret(name, value):
            return HIDDEN
        if isinstance(value, int | float):
            return _plain_number(value)
        self._left -= 1
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if deep >= _MOST_DEEP or self._left <= 0:
                return "..."
            return self._mapping(value, deep + 1) if isinstance(value, Mapping) else self._list(value, deep + 1)
        return self._text(value)

    def _text(self, value: Any) -> str:
        return redact(shortened(as_text(value), self._most))

    def _mapping(self, value: Mapping[Any, Any], deep: int) -> dict[str, Any]:
        shown, seen = len(value) if self._most is None else _MOST_ITEMS, set[str]()
        entries = list(islice(value.items(), shown))
        found = {
            unused(self._text(key), seen): self.field(name, each, deep)
            for name, (key, each) in zip(_names_of_entries(entries, ""), entries, strict=True)
        }
        return found | ({"...": f"{len(value) - shown} more"} if len(value) > shown else {})

    def _list(self, value: Any, deep: int) -> list[Any]:
        shown = len(value) if self._most is None else _MOST_ITEMS
        items = list(islice(value, shown))
        names = _names_of_items(items, "") if isinstance(value, list | tuple) else [""] * len(items)
        listed = [self.field(name, each, deep) for name, each in zip(names, items, strict=True)]
        return listed + ([f"... {len(value) - shown} more"] if len(value) > shown else [])


class _InData:
    """A walk through data that is kept whole, but for what is too deep or, being in itself twice, would not end."""

    def __init__(self) -> None:
        self._left = _MOST_COLLECTIONS

    def field(self, name: str, value: Any, deep: int) -> Any:
        if isinstance(value, str):
            return HIDDEN if value and is_secret_name(name) else redact(value)
        if isinstance(value, int | float):
            return HIDDEN if _is_secret(name, value, _LEAST_SECRET_NUMBER) else value
        if not isinstance(value, dict | list | tuple):
            return value
        self._left -= 1
        if deep >= _MOST_LEVELS or self._left < 0:
            return TOO_DEEP
        if isinstance(value, dict):
            return self._dict(value, name, deep + 1)
        names = _names_of_items(list(value), name)
        items = [self.field(each_name, each, deep + 1) for each_name, each in zip(names, value, strict=True)]
        return items if isinstance(value, list) else tuple(items)

    def _dict(self, value: dict[Any, Any], name: str, deep: int) -> dict[Any, Any]:
        seen, entries = set[str](), list(value.items())
        # A key that is no text stays what it is: JSON has a form for some, and others' encoders for more.
        return {
            unused(redact(key), seen) if isinstance(key, str) else key: self.field(each_name, each, deep)
            for each_name, (key, each) in zip(_names_of_entries(entries, name), entries, strict=True)
        }


def unused(name: str, seen: set[str]) -> str:
    """Return `name`, with underscores after it if it is in `seen`, and add it there."""
    while name in seen:
        name += "_"
    seen.add(name)
    return name


def _plain_number(value: float) -> Any:
    """Return a number as JSON has it: its class may be somebody else's, and not all floats are numbers."""
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= _MOST_BITS else f"a number of {whole.bit_length()} bits"
    plain = float.__float__(value)
    return plain if math.isfinite(plain) else str(plain)


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
    """Return a value's own text, half surrogate pairs written out; of one that has none, what it is."""
    text = safe_str(value)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
