"""The secrets that this process knows literally: they are hidden in every text, in any context.

Settings, the token cipher, the SSO client and the logins register their secrets here. Searching a text costs as little
with a thousand secrets as with one: the text is cut into chunks of four bytes, read as numbers, and a secret of seven
bytes or more always covers one complete chunk. Only a text that contains a chunk from the end of a secret is searched
further.
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

#: Tokens rotate: only the most recently used ones are remembered, up to this number.
RECENT = 2_000
#: The size of a chunk, and the shortest text that covers a complete chunk at any position.
_CHUNK_BYTES, _MIN_BYTES = 4, 7
#: A secret with less entropy may be an ordinary word: hiding it everywhere would blank the log.
_MIN_BITS, _MIN_DIFFERENT = 40, 4
_ALPHABETS = ((re.compile("[0-9]"), 10), (re.compile("[a-z]"), 26), (re.compile("[A-Z]"), 26), (re.compile(r"\W"), 32))
#: Every encoding leaves a text of these characters unchanged.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


class KnownSecrets:
    """A bounded set of secrets that is searched for all of them at once; thread-safe."""

    def __init__(self, recent: int = RECENT) -> None:
        self._recent = recent
        self._lock = threading.Lock()
        #: Each secret, and whether it is remembered until the process ends.
        self._secrets: OrderedDict[str, bool] = OrderedDict()
        #: Each chunk from the last bytes of an encoded form, and the forms that contain it there.
        self._by_chunk: dict[int, tuple[str, ...]] = {}

    def add(self, *secrets: str | None, lasting: bool = False) -> None:
        """Hide these secrets from now on; only `lasting` ones are never replaced by newer ones.

        Secrets that are empty, too short or too simple to be distinguished from ordinary text are ignored.
        """
        for secret in secrets:
            if secret and (secret in self._secrets or is_distinctive(secret)):
                self._remember(secret, lasting)

    def hide(self, text: str, replacement: str) -> str:
        index, chunks = self._by_chunk, _chunks(text.encode(errors="surrogatepass"))
        if index.keys().isdisjoint(chunks):
            return text
        found = {form for chunk in chunks if chunk in index for form in index.get(chunk, ())}
        # One secret may be part of another: replace the longest first.
        for form in sorted(found, key=len, reverse=True):
            text = text.replace(form, replacement)
        return text

    def _remember(self, secret: str, lasting: bool) -> None:
        with self._lock:
            if secret in self._secrets:
                self._secrets[secret] = lasting or self._secrets[secret]
                self._secrets.move_to_end(secret)
                return
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
    """Return whether a secret is long and varied enough to be hidden in any context."""
    alphabet = sum(size for characters, size in _ALPHABETS if characters.search(secret))
    bits = len(secret) * math.log2(alphabet or 1)
    return len(secret) >= _MIN_BYTES and bits >= _MIN_BITS and len(set(secret)) >= _MIN_DIFFERENT


def basic_credentials(user: str, password: str) -> tuple[str, ...]:
    """Return the credentials of `Authorization: Basic`, encoded as HTTP and as OAuth 2 do it."""
    pairs = (f"{user}:{password}", f"{quote_plus(user)}:{quote_plus(password)}")
    return tuple({base64.b64encode(pair.encode()).decode() for pair in pairs})


def _chunks(encoded: bytes) -> memoryview[int]:
    return memoryview(encoded)[: len(encoded) // _CHUNK_BYTES * _CHUNK_BYTES].cast("I")


def _last_chunks(form: str) -> set[int]:
    # Use the end: JWTs of one issuer all begin alike.
    tail = form.encode(errors="surrogatepass")[-_MIN_BYTES:]
    return {_chunks(tail[at : at + _CHUNK_BYTES])[0] for at in range(_MIN_BYTES - _CHUNK_BYTES + 1)}


def _forms(secret: str) -> frozenset[str]:
    """Return the ways to write a secret: plain, in a URL, in JSON (also nested), in HTML, as Python's repr."""
    if _PLAIN.fullmatch(secret):
        return frozenset((secret,))
    escaped = json.dumps(secret)[1:-1]
    quoted = {quote(secret, safe="", errors="replace"), quote(secret, errors="replace")}
    quoted |= {quote_plus(secret, errors="replace")}
    forms = {secret, escaped, json.dumps(escaped)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {escape(secret), repr(secret)[1:-1], repr(secret.encode(errors="replace"))[2:-1]}
    forms |= quoted | {re.sub("%..", lambda found: found[0].lower(), each) for each in quoted}
    return frozenset(forms)


#: The secrets of this process.
KNOWN = KnownSecrets()
