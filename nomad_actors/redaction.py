"""What no log line and no error report may hold: secrets, by the name of a field and by their looks in any text.

Texts come from outside (answers, payloads), so each pattern takes a time that grows with the text's length and no
faster: none begins again inside a stretch that it has given up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden]"

#: How a name ends that stands for a secret, letters and digits alone: `refreshToken`, `EVE_CLIENT_SECRET`, `x-api-key`.
_SECRET_NAMES = (
    *("token", "tokens", "tokenkey", "tokenkeys", "secret", "secretkey", "privatekey", "apikey"),
    *("password", "passwd", "pwd", "passphrase", "credentials", "auth", "authorization", "jwt"),
    *("cookie", "cookies", "csrf", "dsn", "codeverifier"),
)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")

#: Without one of these no pattern below finds anything; to look for them costs a twentieth of it.
_HINTS = (
    "token",
    "secret",
    "passw",
    "pwd",
    "key",
    "verifier",
    "auth",
    "bearer",
    "basic",
    "cookie",
    "eyj",
    "://",
    "code=",
)

# Between a name and its value: `=`, `:`, `=>`, `->`, a tag's `>`, a tuple's `', '`; each may stand in quotes, which may
# be escaped, and a constructor's name may come first.
_GAP = r"""(?:[\\'"]*\s*(?:[:=]>?|->)\s*|>|['"]\s*,\s*)(?:[A-Za-z]\w{0,30}\()?"""
_VALUE = r"""
    (b?')[^'\\\n]*(?:\\.[^'\\\n]*)*      # quoted: to the closing quote or the line's end
  | (b?")[^"\\\n]*(?:\\.[^"\\\n]*)*
  | (b?\\+['"])[^'"\\\n]*                # quoted in a quotation
  | (?!\[hidden\])[^\s\\'"&,;<})\]]+     # bare
"""
_NAME = r"(?:refresh|access|id)[-_ ]?token|token[-_]?keys?|secret(?:[-_]?key)?|private[-_]?key|api[-_]?key"
_NAME += r"|passw(?:or)?d|passphrase|pwd|code[-_]?verifier|(?<=['\"])token(?=['\"])"
_LABELLED = re.compile(rf"((?:{_NAME}){_GAP})(?:{_VALUE})", re.IGNORECASE | re.VERBOSE)
_HEADERS = re.compile(rf"((?:authorization|cookie){_GAP}[\\'\"]*(?:\w+\s+)?)[^\s'\",}}]+", re.IGNORECASE)

_LOOKS = (
    # A JWT, or its beginning: base64 of `{"`.
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}"), HIDDEN),
    (re.compile(r"\b(bearer\s+|basic\s+(?=\S{16}))[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # In a URL: a password, also one with a slash; what stands there alone and is long. A port is none.
    (re.compile(r"(://[^\s/:@'\"]*):(?!\d{1,5}[/?#])[^\s'\"]{1,256}@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(://)[^\s/:@'\"]{16,256}@"), rf"\1{HIDDEN}@"),
    # A bare "token" may be anything; only a long value after it is taken for a secret.
    (re.compile(rf"(token(?:{_GAP}[\\'\"]*|\s+(?:is\s+)?))[\w.~+/=-]{{16,}}", re.IGNORECASE), rf"\1{HIDDEN}"),
    # What the SSO's redirect brings.
    (re.compile(r"([?&]code=)[^\s&'\"]+"), rf"\1{HIDDEN}"),
)

#: Of a word at a cut no more than this is thrown away: what is longer is no secret that anybody would have.
_MOST_OF_A_WORD = 2_048
#: How far down, and how many items of one collection, are shown where texts are cut.
_MOST_DEEP, _MOST_ITEMS = 20, 100


def redact(text: str) -> str:
    """Return `text` without what looks like a JWT, a token, a labelled secret or a password in a URL."""
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    text = _LABELLED.sub(_hidden_value, _HEADERS.sub(rf"\1{HIDDEN}", text))
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    return text


def _hidden_value(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2] or found[3] or found[4] or ''}{HIDDEN}"


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret."""
    return _NOT_IN_NAMES.sub("", name.lower()).endswith(_SECRET_NAMES)


def hide_secrets(name: str, value: Any, *, most: int | None = None, deep: int = 0) -> Any:
    """Return a field's value without secrets, as far down as it goes; what JSON does not know becomes text.

    With `most`, a text is cut to so many characters, and collections to what fits a line.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret_name(name):
        return HIDDEN
    if deep >= _MOST_DEEP or not isinstance(value, Mapping | list | tuple | set | frozenset):
        return redact(shortened(as_text(value), most))
    shown = len(value) if most is None else _MOST_ITEMS
    left_out = len(value) - shown
    if isinstance(value, Mapping):
        items = {as_text(key): each for key, each in list(value.items())[:shown]}
        hidden = {key: hide_secrets(key, each, most=most, deep=deep + 1) for key, each in items.items()}
        return hidden | ({"...": f"{left_out} more"} if left_out > 0 else {})
    if len(value) == 2 and isinstance(value, list | tuple) and is_secret_name(as_text(value[0])):
        # A secret with its name before it, as headers are listed.
        return [as_text(value[0]), hide_secrets(as_text(value[0]), value[1], most=most, deep=deep + 1)]
    listed = [hide_secrets("", each, most=most, deep=deep + 1) for each in list(value)[:shown]]
    return listed + ([f"... {left_out} more"] if left_out > 0 else [])


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
        return str(value)
    except Exception as error:
        return f"unprintable {type(value).__name__} ({type(error).__name__})"
