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
from ..http_date import http_date
from ..logs import get_logger
from .errors import SsoUnavailable
from .limits.keys import key as redis_key

#: CCP's example caches the keys for this long (esi-docs, SSO).
JWKS_SECONDS = 300
#: How long keys are used while SSO's cannot be read: it has never withdrawn one sooner, and a token that is signed with
#: a known key is as good as before.
MAX_STALE_SECONDS = 86_400
#: How long the fleet does not ask SSO again after it could not read its keys, or one for a token was not among them.
ASK_AGAIN_SECONDS = 60
#: Shorter than for other requests: a refresh waits for the keys while it holds its login.
KEYS_TIMEOUTS_SECONDS = (5, 5)
#: Tokens are valid for 20 minutes; with a clock further ahead than this they would seem almost or already expired.
MAX_AHEAD_SECONDS = 300
MIN_RSA_BITS = 2048
_AGE = re.compile(r"[0-9]{1,9}")


logger = get_logger("nomad_actors.esi.signing_keys")


class SigningKeys:
    """The keys with which SSO signs access tokens; thread-safe.

    Processes share them in Redis (`shared`): the first one that needs them asks SSO and saves them. They are read again
    after five minutes; if that fails, the known ones are used for up to a day.
    """

    def __init__(self, http: requests.Session, *, base_url: str, clock: Clock, shared: redis.Redis) -> None:
        self._http = http
        self._base_url = base_url
        self._clock = clock
        self._shared = shared
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._until_mono = self._asked_mono = float("-inf")
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the keys, from Redis or from SSO, unless this process has read them within five minutes.

        Raises `SsoUnavailable` if there are none, when asking SSO also if this host's clock is far ahead of SSO's.
        """
        with self._lock:
            if time.monotonic() >= self._until_mono:
                self._renew()

    def get(self, key_id: str) -> jwt.PyJWK:
        """Return the key with this id; if it is new, ask SSO, but once a minute for the fleet.

        Raises `SsoUnavailable` if SSO does not publish it.
        """
        with self._lock:
            if key_id not in self._keys:
                self._look_up(key_id)
            found = self._keys.get(key_id)
        if found is None:
            raise SsoUnavailable("SSO's access token is signed with a key that SSO does not publish")
        return found

    def _renew(self) -> None:
        copy, age_seconds = self._copy()
        if copy and age_seconds < JWKS_SECONDS:
            self._use(copy, JWKS_SECONDS - age_seconds)
            return
        try:
            self._use(self._request(), JWKS_SECONDS)
        except SsoUnavailable as error:
            known = copy or (self._keys if time.monotonic() - self._asked_mono < MAX_STALE_SECONDS else {})
            if error.is_local or not known:
                raise
            logger.warning("SSO's keys cannot be read; the known ones are used", error=str(error))
            self._use(known, ASK_AGAIN_SECONDS)

    def _look_up(self, key_id: str) -> None:
        """Read keys that another process may have found meanwhile, else ask SSO if nobody has lately."""
        copy, age_seconds = self._copy()
        if copy and key_id in copy:
            self._use(copy, max(JWKS_SECONDS - age_seconds, ASK_AGAIN_SECONDS))
        elif self._may_ask():
            self._use(self._request(), JWKS_SECONDS)

    def _may_ask(self) -> bool:
        try:
            return bool(self._shared.set(redis_key("jwks_asked"), "1", nx=True, ex=ASK_AGAIN_SECONDS))
        except redis.RedisError:
            return False

    def _use(self, keys: Mapping[str, jwt.PyJWK], seconds: float) -> None:
        self._keys, self._until_mono = keys, time.monotonic() + seconds

    def _copy(self) -> tuple[Mapping[str, jwt.PyJWK], float]:
        """Return the fleet's copy of the keys, and how old it is; no keys if there is none that can be used."""
        try:
            with self._shared.pipeline(transaction=False) as pipe:
                pipe.get(redis_key("jwks"))
                pipe.ttl(redis_key("jwks"))
                text, left_seconds = pipe.execute()
            return (_usable(json.loads(text)) if text else {}), MAX_STALE_SECONDS - left_seconds
        except (redis.RedisError, ValueError, SsoUnavailable):
            return {}, 0.0

    def _request(self) -> Mapping[str, jwt.PyJWK]:
        try:
            response = self._http.get(
                f"{self._base_url}/oauth/jwks", timeout=KEYS_TIMEOUTS_SECONDS, allow_redirects=False
            )
            body = response.json() if response.status_code == 200 else None
        except requests.RequestException as error:
            raise SsoUnavailable(f"SSO's keys cannot be read: {type(error).__name__}") from error
        if body is None:
            raise SsoUnavailable(f"SSO's keys cannot be read: it answered {response.status_code}")
        self._check_clock(response)
        keys = _usable(body)
        self._asked_mono = time.monotonic()
        with contextlib.suppress(redis.RedisError):  # Without it, the others ask SSO themselves.
            self._shared.set(redis_key("jwks"), json.dumps(body), ex=MAX_STALE_SECONDS)
        return keys

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
