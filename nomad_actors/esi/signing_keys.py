"""SSO's public keys (JWKS), read once for all processes, and the check that this host's clock agrees with SSO's."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

import jwt
import redis
import requests
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..clock import Clock
from .client import TIMEOUTS_SECONDS
from .errors import SsoUnavailable
from .limits.keys import key as redis_key
from .response import http_date

#: CCP's example caches the keys for this long (esi-docs, SSO).
JWKS_SECONDS = 300
#: Tokens are valid for 20 minutes; with a clock further ahead than this they would seem almost or already expired.
MAX_AHEAD_SECONDS = 300
MIN_RSA_BITS = 2048
_AGE = re.compile(r"[0-9]{1,9}")


class SigningKeys:
    """The keys with which SSO signs access tokens; thread-safe.

    Processes share them in Redis (`shared`): the first one that needs them asks SSO and saves them for five minutes.
    """

    def __init__(self, http: requests.Session, *, base_url: str, clock: Clock, shared: redis.Redis) -> None:
        self._http = http
        self._base_url = base_url
        self._clock = clock
        self._shared = shared
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_mono = float("-inf")
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the keys, from Redis or from SSO, unless this process has read them within five minutes.

        Raises `SsoUnavailable`, when asking SSO also if this host's clock is far ahead of SSO's.
        """
        with self._lock:
            if not self._keys or time.monotonic() - self._read_mono > JWKS_SECONDS:
                self._read(self._copy() or self._request())

    def get(self, key_id: str) -> jwt.PyJWK:
        """Return the key with this id, asking SSO if it is new.

        Raises `SsoUnavailable` if SSO does not publish it.
        """
        with self._lock:
            if key_id not in self._keys:
                self._read(self._request())
            found = self._keys.get(key_id)
        if found is None:
            raise SsoUnavailable("SSO's access token is signed with a key that SSO does not publish")
        return found

    def _copy(self) -> Any:
        try:
            text = self._shared.get(redis_key("jwks"))
            body = json.loads(text) if text else None
            return body if body is None or _usable(body) else None
        except (redis.RedisError, ValueError, SsoUnavailable):
            return None

    def _request(self) -> Any:
        try:
            response = self._http.get(f"{self._base_url}/oauth/jwks", timeout=TIMEOUTS_SECONDS, allow_redirects=False)
            body = response.json() if response.status_code == 200 else None
        except requests.RequestException as error:
            raise SsoUnavailable(f"SSO's keys cannot be read: {type(error).__name__}") from error
        if body is None:
            raise SsoUnavailable(f"SSO's keys cannot be read: it answered {response.status_code}")
        self._check_clock(response)
        _usable(body)
        with contextlib.suppress(redis.RedisError):  # Without it, the others ask SSO themselves.
            self._shared.set(redis_key("jwks"), json.dumps(body), ex=JWKS_SECONDS)
        return body

    def _read(self, body: Any) -> None:
        self._keys = _usable(body)
        self._read_mono = time.monotonic()

    def _check_clock(self, response: requests.Response) -> None:
        """Raise `SsoUnavailable` if our clock is far ahead: new tokens would seem to have expired.

        A clock that is behind loses nothing: ESI rejects the expired token, and it is refreshed.
        """
        date = http_date(response.headers.get("Date"))
        ahead_seconds = self._clock.now_ms() / 1000 - date.timestamp() - _age_seconds(response) if date else 0
        if ahead_seconds > MAX_AHEAD_SECONDS:
            raise SsoUnavailable(
                f"this host's clock is {ahead_seconds:.0f} s ahead of SSO's: correct it; no token was requested",
                is_local=True,
            )


def _usable(body: Any) -> Mapping[str, jwt.PyJWK]:
    try:
        found = jwt.PyJWKSet.from_dict(body).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise SsoUnavailable(f"SSO's keys cannot be read: {type(error).__name__}") from error
    keys = {key.key_id: key for key in found if key.key_id and _may_sign(key)}
    if not keys:
        raise SsoUnavailable("SSO's keys cannot be read: none of them can sign access tokens")
    return keys


def _may_sign(key: jwt.PyJWK) -> bool:
    """Return whether SSO may sign with a key: RSA of 2,048 bits or more, or an elliptic curve."""
    public = key.key
    if key.public_key_use not in (None, "sig"):
        return False
    return isinstance(public, EllipticCurvePublicKey) or (
        isinstance(public, RSAPublicKey) and public.key_size >= MIN_RSA_BITS
    )


def _age_seconds(response: requests.Response) -> int:
    """Return the age of `Date`: a cache passes on the origin's header (RFC 9111, section 4.2.3)."""
    text = response.headers.get("Age", "")
    return int(text) if _AGE.fullmatch(text) else 0
