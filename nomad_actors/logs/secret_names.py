"""The names of fields that contain secrets, and the form of a secret without a name."""

from __future__ import annotations

import re
from functools import lru_cache

#: Endings of secret names, word by word: `refreshToken`, `EVE_CLIENT_SECRET`, `x-api-key`.
NAMES = (
    *("refresh token", "access token", "id token", "bearer token", "csrf token", "security token", "session token"),
    *("token key", "secret key", "secret access key", "private key", "api key", "access key", "account key"),
    *("signing key", "encryption key", "session key", "session id", "secret", "client assertion", "code verifier"),
    *("password", "passwd", "passphrase", "pwd", "passcode", "credential", "jwt", "dsn", "csrf", "amz signature"),
)
#: Ambiguous names: in a text their value is a secret only if it is long or the name is quoted.
VAGUE_NAMES = ("token", "auth", "signature", "sig", "nonce", "cnonce", "response", "pass", "pw")
HEADER_NAMES = ("authorization", "cookie")
#: Suffixes that a name may have: `password2`, `passwordConfirm`.
SUFFIX = r"(?:value|text|raw|new|old|plain|confirm(?:ation)?|repeat|[0-9]{1,2})"

#: A long word that does not occur in sentences: a token or a key.
LONG_WORD = re.compile(r"(?=[\w.~+/=-]{0,15}[0-9A-Z])[\w.~+/=-]{16,}")

_DIGIT = re.compile(r"[0-9]")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_FIELD_ENDINGS = tuple(
    each.replace(" ", "") + plural
    for each in (*NAMES, "token", "auth", "authorization", "cookie", "apikey")
    for plural in ("", "s")
)
#: Names that may have one of the suffixes.
_STEMS = tuple(each.replace(" ", "") + plural for each in NAMES for plural in ("", "s"))
_SUFFIXES = re.compile(rf"{SUFFIX}$")
#: Too short to match as endings: `bypass` and `compass` are no secrets.
_WHOLE_NAMES = frozenset({"pass", "pw"})
#: Only the end of a longer name is checked.
_LONG_NAME = 100


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name contains a secret."""
    return _is_secret_name(name) if len(name) <= _LONG_NAME else _is_secret_name(name[-_LONG_NAME:])


@lru_cache(maxsize=2048)
def _is_secret_name(name: str) -> bool:
    plain = _plain_name(name)
    return plain.endswith(_FIELD_ENDINGS) or plain in _WHOLE_NAMES


def is_plural_name(name: str) -> bool:
    """Return whether a secret's name is plural."""
    return _plain_name(name[-_LONG_NAME:]).endswith("s")


def _plain_name(name: str) -> str:
    """Return a field's name without separators and, if it is a secret's name, without its suffix."""
    plain = _NOT_IN_NAMES.sub("", name.lower())
    stem = _SUFFIXES.sub("", plain)
    return stem if stem.endswith(_STEMS) else plain


def looks_secret(text: str) -> bool:
    """Return whether a text looks like a token or a key: one long word with a digit that is not a secret's name."""
    return LONG_WORD.fullmatch(text) is not None and _DIGIT.search(text) is not None and not is_secret_name(text)
