"""The secrets that this process knows literally: they are hidden in every text, whatever stands around them.

Settings, the token cipher, the SSO client and the logins register here what they hold. To look through a text costs as
little with a thousand secrets as with one: the text is cut into chunks of four bytes, read as numbers, and a secret of
seven bytes or more covers a whole chunk wherever it begins. Only a text with a chunk of some secret's end is looked at
closer.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections import OrderedDict
from html import escape
from urllib.parse import quote, quote_plus

#: Tokens rotate: so many are remembered, the most recently used ones.
RECENT = 2_000
#: A chunk, and the shortest text that covers one at any position.
_CHUNK_BYTES, _MIN_BYTES = 4, 7
#: A text with fewer bits is a word that an ordinary line may hold: hidden everywhere, it would blank the log.
_MIN_BITS, _MIN_DIFFERENT = 40, 4
_ALPHABETS = ((re.compile("[0-9]"), 10), (re.compile("[a-z]"), 26), (re.compile("[A-Z]"), 26), (re.compile(r"\W"), 32))
#: Of these every encoding is the text itself.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


class KnownSecrets:
    """A bounded set of secrets and the search for all of them at once; safe to share between threads."""

    def __init__(self, recent: int = RECENT) -> None:
        self._recent = recent
        self._lock = threading.Lock()
        #: Secret to whether it stays for the life of the process.
        self._secrets: OrderedDict[str, bool] = OrderedDict()
        #: Each chunk of the last bytes of a form, to the forms that end so.
        self._by_chunk: dict[int, tuple[str, ...]] = {}

    def add(self, *secrets: str | None, lasting: bool = False) -> None:
        """Hide these from now on; those that are not `lasting` make room for newer ones.

        Empty texts and words too short or too plain to be told from ordinary text are left out.
        """
        for secret in secrets:
            if not secret:
                continue
            if secret in self._secrets:
                self._touch(secret, lasting)
            elif is_distinctive(secret):
                self._insert(secret, lasting)

    def hide(self, text: str, replacement: str) -> str:
        """Return `text` with each of the secrets replaced."""
        index, chunks = self._by_chunk, _chunks(text.encode(errors="surrogatepass"))
        if index.keys().isdisjoint(chunks):
            return text
        found = {form for chunk in chunks if chunk in index for form in index.get(chunk, ())}
        # A secret may be a part of another.
        for form in sorted(found, key=len, reverse=True):
            text = text.replace(form, replacement)
        return text

    def _touch(self, secret: str, lasting: bool) -> None:
        with self._lock:
            if secret in self._secrets:
                self._secrets[secret] = lasting or self._secrets[secret]
                self._secrets.move_to_end(secret)

    def _insert(self, secret: str, lasting: bool) -> None:
        with self._lock:
            self._secrets[secret] = lasting
            for form in _forms(secret):
                for chunk in _last_chunks(form):
                    self._by_chunk[chunk] = (*self._by_chunk.get(chunk, ()), form)
            if len(self._secrets) > self._recent:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = next((secret for secret, lasting in self._secrets.items() if not lasting), None)
        if oldest is None:
            return
        del self._secrets[oldest]
        for form in _forms(oldest):
            for chunk in _last_chunks(form):
                left = tuple(each for each in self._by_chunk.get(chunk, ()) if each != form)
                if left:
                    self._by_chunk[chunk] = left
                else:
                    self._by_chunk.pop(chunk, None)


def is_distinctive(secret: str) -> bool:
    """Return whether a secret is long and varied enough to be hidden wherever it stands."""
    alphabet = sum(size for characters, size in _ALPHABETS if characters.search(secret))
    bits = len(secret) * math.log2(alphabet or 1)
    return len(secret) >= _MIN_BYTES and bits >= _MIN_BITS and len(set(secret)) >= _MIN_DIFFERENT


def basic_credentials(user: str, password: str) -> tuple[str, ...]:
    """Return what `Authorization: Basic` carries for these, as HTTP and as OAuth 2 encode them."""
    pairs = (f"{user}:{password}", f"{quote_plus(user)}:{quote_plus(password)}")
    return tuple({base64.b64encode(pair.encode()).decode() for pair in pairs})


def _chunks(encoded: bytes) -> memoryview[int]:
    return memoryview(encoded)[: len(encoded) // _CHUNK_BYTES * _CHUNK_BYTES].cast("I")


def _last_chunks(form: str) -> set[int]:
    # The end, since the beginnings of JWTs of one issuer are all the same.
    tail = form.encode(errors="surrogatepass")[-_MIN_BYTES:]
    return {_chunks(tail[at : at + _CHUNK_BYTES])[0] for at in range(_MIN_BYTES - _CHUNK_BYTES + 1)}


def _forms(secret: str) -> frozenset[str]:
    """Return how a secret may be written: itself, in a URL, in JSON (also within JSON), in HTML, as Python's repr."""
    if _PLAIN.fullmatch(secret):
        return frozenset((secret,))
    escaped = json.dumps(secret)[1:-1]
    quoted = {quote(secret, safe="", errors="replace"), quote(secret, errors="replace")}
    quoted |= {quote_plus(secret, errors="replace")}
    forms = {secret, escaped, json.dumps(escaped)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {escape(secret), repr(secret)[1:-1], repr(secret.encode(errors="replace"))[2:-1]}
    forms |= quoted | {re.sub("%..", lambda found: found[0].lower(), each) for each in quoted}
    return frozenset(forms)


#: This process' own.
KNOWN = KnownSecrets()
