"""The EVE SSO client: tokens for a refresh token or a code, and validation of access tokens."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..clock import Clock
from ..logs.known_secrets import KNOWN, basic_credentials
from ..logs.redaction import redact
from ..metrics.definitions import TOKEN_REFRESHES
from .client import TIMEOUTS_SECONDS
from .errors import DeadLogin, SsoLimited, SsoMisconfigured, SsoUnavailable
from .response import http_date, retry_after_seconds

#: CCP's example caches the keys for this long (esi-docs, SSO).
JWKS_SECONDS = 300
#: Tokens are valid for 20 minutes; with a clock further ahead than this they would seem almost or already expired.
MAX_AHEAD_SECONDS = 300
MIN_RSA_BITS = 2048
_AGE = re.compile(r"[0-9]{1,9}")
#: The secret fields of a token request and of its response.
_SECRET_FIELDS = ("refresh_token", "code", "code_verifier", "access_token", "id_token")

#: A 400 with one of these means that the login is dead, regardless of the error code (SeAT and others use these too).
_DEAD = (
    "invalid refresh token",
    "unable to migrate grant",
    "the refresh token is expired",
    "the refresh token does not match the client specified",
)
#: These mean that this application is misconfigured, even if the code is `invalid_grant` (sso-issues #72).
_MISCONFIGURED = ("grant type refresh_token is not supported", "grant type authorization_code is not supported")
_MISCONFIGURED_CODES = ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope")


@dataclass(frozen=True)
class Tokens:
    """The tokens of one character; `repr` hides them."""

    character_id: int
    name: str
    #: Changes when the character is sold.
    owner_hash: str
    scopes: frozenset[str]
    access_token: str
    expires_at_ms: int
    refresh_token: str

    def __repr__(self) -> str:
        return f"Tokens(character_id={self.character_id}, expires_at_ms={self.expires_at_ms})"


class SsoClient:
    """Requests tokens from SSO and validates them; thread-safe."""

    def __init__(
        self, http: requests.Session, *, base_url: str, client_id: str, client_secret: str, clock: Clock
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._client_id = client_id
        self._client_secret = client_secret
        if client_secret:
            KNOWN.add(client_secret, *basic_credentials(client_id, client_secret), lasting=True)
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._keys_read_mono = float("-inf")
        self._lock = threading.Lock()

    def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens; the old refresh token may no longer be valid afterwards.

        Raises `DeadLogin`, `SsoMisconfigured` or `SsoUnavailable`.
        """
        outcome = "unavailable"
        try:
            # First, before SSO rotates the token: a new token that cannot be validated would be lost.
            self._load_keys()
            response = self._request_token({"grant_type": "refresh_token", "refresh_token": refresh_token})
            tokens = self._tokens(response, refresh_token)
            outcome = "refreshed"
        except DeadLogin:
            outcome = "dead_login"
            raise
        except SsoMisconfigured:
            outcome = "misconfigured"
            raise
        finally:
            TOKEN_REFRESHES.labels(outcome).inc()
        return tokens

    def exchange_code(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Return the tokens of a new login.

        Raises as `refresh`.
        """
        self._load_keys()
        response = self._request_token(
            {
                "grant_type": "authorization_code",
                "code": code,
                "code_verifier": verifier,
                "redirect_uri": redirect_uri,
            }
        )
        return self._tokens(response, "")

    def authorize_url(self, scopes: Iterable[str], state: str, challenge: str, redirect_uri: str) -> str:
        """Return the URL of the login page; `challenge` is the S256 of the verifier (PKCE)."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(sorted(scopes)),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._base_url}/v2/oauth/authorize?{urlencode(query)}"

    def _request_token(self, form: dict[str, str]) -> dict[str, Any]:
        # The token endpoint accepts only form-encoded bodies since 2021-11.
        auth = (self._client_id, self._client_secret) if self._client_secret else None
        if auth is None:
            form = {**form, "client_id": self._client_id}
        _register(form)
        try:
            response = self._http.post(
                f"{self._base_url}/v2/oauth/token",
                data=form,
                auth=auth,
                timeout=TIMEOUTS_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise SsoUnavailable(f"SSO did not answer: {type(error).__name__}") from error
        body = _json_object(response)
        _register(body)
        if response.status_code != 200 or not body.get("access_token"):
            _raise_for(response, body)
        return body

    def _tokens(self, response: Mapping[str, Any], refresh_token: str) -> Tokens:
        access_token = str(response["access_token"])
        claims = self._claims(access_token)
        return Tokens(
            character_id=_character_id(claims.get("sub")),
            name=str(claims.get("name", "")),
            owner_hash=str(claims.get("owner", "")),
            scopes=_scopes(claims.get("scp")),
            access_token=access_token,
            expires_at_ms=int(claims["exp"]) * 1000,
            # It MIGHT change (CCP, 2021-10-07): use the one in the response, or the old one if there is none.
            refresh_token=str(response.get("refresh_token") or refresh_token),
        )

    def _claims(self, access_token: str) -> dict[str, Any]:
        """Return the token's claims after checking its signature, issuer, audience and expiry."""
        try:
            header = jwt.get_unverified_header(access_token)
            key = self._key(str(header.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                access_token,
                key=key,
                algorithms=["RS256", "ES256"],
                audience="EVE Online",
                # The expiry is checked below, with our own clock.
                options={
                    "require": ["exp", "iss", "sub", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise SsoUnavailable(f"SSO's access token cannot be trusted: {error}") from error
        if claims["iss"] not in self._issuers():
            raise SsoUnavailable(f"SSO's access token has the wrong issuer {claims['iss']!r}")
        audience = claims["aud"]
        if self._client_id not in ([audience] if isinstance(audience, str) else audience):
            raise SsoMisconfigured("SSO's access token is for another application: check EVE_CLIENT_ID")
        if not isinstance(claims["exp"], (int, float)) or claims["exp"] * 1000 <= self._clock.now_ms():
            raise SsoUnavailable("SSO's access token has already expired: check this host's clock")
        return claims

    def _issuers(self) -> tuple[str, ...]:
        """Return all spellings of the issuer: CCP uses it with and without scheme, and documents it with a slash."""
        host = urlsplit(self._base_url).netloc
        return (host, self._base_url, f"{self._base_url}/", f"https://{host}", f"https://{host}/")

    def _load_keys(self) -> None:
        with self._lock:
            if not self._keys or time.monotonic() - self._keys_read_mono > JWKS_SECONDS:
                self._keys = self._read_keys()
                self._keys_read_mono = time.monotonic()

    def _key(self, key_id: str) -> jwt.PyJWK:
        with self._lock:
            if key_id not in self._keys:
                # The keys may have changed since we read them.
                self._keys = self._read_keys()
                self._keys_read_mono = time.monotonic()
            key = self._keys.get(key_id)
        if key is None:
            raise SsoUnavailable("SSO's access token is signed with a key that SSO does not publish")
        return key

    def _read_keys(self) -> Mapping[str, jwt.PyJWK]:
        try:
            response = self._http.get(f"{self._base_url}/oauth/jwks", timeout=TIMEOUTS_SECONDS, allow_redirects=False)
            if response.status_code != 200:
                raise SsoUnavailable(f"SSO's keys cannot be read: it answered {response.status_code}")
            found = jwt.PyJWKSet.from_dict(_json_object(response)).keys
        except (requests.RequestException, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise SsoUnavailable(f"SSO's keys cannot be read: {type(error).__name__}") from error
        self._check_clock(response)
        keys = {key.key_id: key for key in found if key.key_id and _may_sign(key)}
        if not keys:
            raise SsoUnavailable("SSO's keys cannot be read: none of them can sign access tokens")
        return keys

    def _check_clock(self, response: requests.Response) -> None:
        """Raise `SsoUnavailable` if our clock is far ahead: rotated tokens would seem expired and be lost.

        A clock that is behind loses nothing: ESI rejects the expired token, and it is refreshed.
        """
        date = http_date(response.headers.get("Date"))
        ahead_seconds = self._clock.now_ms() / 1000 - date.timestamp() - _age_seconds(response) if date else 0
        if ahead_seconds > MAX_AHEAD_SECONDS:
            raise SsoUnavailable(
                f"this host's clock is {ahead_seconds:.0f} s ahead of SSO's: correct it; no token was requested"
            )


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


def _json_object(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _scopes(claim: object) -> frozenset[str]:
    """Return the granted scopes; the claim is a string for a single one, and missing for none."""
    found = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(str(scope) for scope in found)


def _character_id(subject: object) -> int:
    kind, _, number = str(subject).rpartition(":")
    if kind != "CHARACTER:EVE" or not number.isdecimal() or not number.isascii():
        raise SsoUnavailable("SSO's access token does not name a character")
    return int(number)


def _register(fields: Mapping[str, Any]) -> None:
    """Hide the secrets in these fields from now on: SSO's error messages have quoted requests."""
    KNOWN.add(*(value for name in _SECRET_FIELDS if isinstance(value := fields.get(name), str)))


def _raise_for(response: requests.Response, body: Mapping[str, Any]) -> NoReturn:
    """Raise the error of a response, classified by its text: the code alone would blame logins for our own errors."""
    status = response.status_code
    code, description = str(body.get("error", "")), str(body.get("error_description", ""))
    code, description = redact(code)[:100], redact(description)[:300]
    message = f"SSO answered {status}: {code} {description}".strip()
    text = f"{code} {description}".lower()
    if status in (400, 401) and (code in _MISCONFIGURED_CODES or any(each in text for each in _MISCONFIGURED)):
        raise SsoMisconfigured(f"{message}; check EVE_CLIENT_ID and EVE_CLIENT_SECRET")
    if status == 400 and any(each in text for each in _DEAD):
        raise DeadLogin(message)
    seconds = retry_after_seconds(response.headers)
    if seconds is not None:
        raise SsoLimited(message, retry_after_seconds=seconds)
    raise SsoUnavailable(message)
