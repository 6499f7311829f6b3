"""Encryption of the stored tokens: AES-256-GCM, with the key's id in each value, bound to one character.

A stored value has the form `v1.<key id>.<base64 of nonce and ciphertext>`. The character and the kind of token are
authenticated with it, so a value copied to another character's row cannot be decrypted.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import NomadError, SettingsError
from ..logs.known_secrets import KNOWN
from ..settings import Settings
from ..settings.values import TOKEN_KEYS_ALLOWED
from .database import Database
from .key_file import KEY_FILE, make_key, read_key
from .login_keys import refuse_lost_keys, stored_logins_by_key

TokenKind = Literal["refresh", "access"]

_FORMAT = "v1"
#: NIST SP 800-38D: 96 bits, random; safe for 2**32 tokens under one key.
_NONCE_BYTES = 12


class UndecryptableToken(NomadError):
    """Raised if no key decrypts a stored token, or if it was altered or moved to another row."""


class TokenCipher:
    """Encrypts with the first of `keys` and decrypts with any of them.

    32 bytes are derived from each key; `source` is where they come from. Raises `SettingsError` without keys.
    """

    def __init__(self, keys: Sequence[str], source: str = "NOMAD_TOKEN_KEYS") -> None:
        if not keys or not all(keys):
            raise SettingsError(["NOMAD_TOKEN_KEYS contains no key; allowed: comma-separated keys"])
        KNOWN.add(*keys, lasting=True)
        derived = [_derive(key) for key in keys]
        self._ciphers = {_key_id(key): AESGCM(key) for key in derived}
        self.current_key_id = _key_id(derived[0])
        self.source = source

    @property
    def key_ids(self) -> list[str]:
        """The ids of the keys, newest first."""
        return list(self._ciphers)

    @classmethod
    def from_settings(cls, settings: Settings) -> TokenCipher:
        """Return a cipher with the settings' keys, or else with the key file in `var_dir`, which is created if missing.

        Raises `SettingsError` if there are no keys for a database that several hosts share, or if the file is invalid;
        `CannotStart` if the file is missing but logins are stored.
        """
        found = cls.at_hand(settings)
        if found is not None:
            return found
        path = settings.var_dir / KEY_FILE
        if not settings.database_url.startswith("sqlite"):
            raise SettingsError(
                [f"NOMAD_TOKEN_KEYS is not set; accepted with PostgreSQL: {TOKEN_KEYS_ALLOWED}, the same on every host"]
            )
        with closing(Database(settings.database_url)) as database:
            refuse_lost_keys(stored_logins_by_key(database), [], str(path))
        return cls([make_key(settings.var_dir)], str(path))

    @classmethod
    def at_hand(cls, settings: Settings) -> TokenCipher | None:
        """Return a cipher with the existing keys, None without keys; raises `SettingsError` for an invalid key file."""
        if settings.token_keys:
            return cls([key.get_secret_value() for key in settings.token_keys])
        if not settings.database_url.startswith("sqlite"):
            return None
        key = read_key(settings.var_dir)
        return None if key is None else cls([key], str(settings.var_dir / KEY_FILE))

    def encrypt(self, token: str, *, character_id: int, kind: TokenKind) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self.current_key_id]
        sealed = nonce + cipher.encrypt(nonce, token.encode(), _bound_to(character_id, kind))
        return f"{_FORMAT}.{self.current_key_id}.{base64.b64encode(sealed).decode()}"

    def decrypt(self, stored: str, *, character_id: int, kind: TokenKind) -> str:
        """Return the decrypted token; raises `UndecryptableToken` without its key, or for another character's token."""
        form, _, rest = stored.partition(".")
        key_id, _, text = rest.partition(".")
        if form != _FORMAT or key_id not in self._ciphers:
            raise UndecryptableToken(
                f"the {kind} token of character {character_id} was encrypted with key {key_id or '(none)'}, "
                f"which is not one of the current keys ({', '.join(self._ciphers)}); "
                "put the old key back at the end of NOMAD_TOKEN_KEYS"
            )
        try:
            sealed = base64.b64decode(text, validate=True)
            opened = self._ciphers[key_id].decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(character_id, kind)
            )
        except (InvalidTag, ValueError) as error:
            raise UndecryptableToken(
                f"the {kind} token of character {character_id} was altered, or belongs to another row"
            ) from error
        return opened.decode()


def _derive(key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nomad token encryption v1").derive(key.encode())


def _key_id(derived: bytes) -> str:
    return hashlib.sha256(b"nomad key id" + derived).hexdigest()[:8]


def _bound_to(character_id: int, kind: TokenKind) -> bytes:
    return f"nomad:{kind}:{character_id}".encode()
