"""The EVE SSO client: tokens for a refresh token or a code, and validation of access tokens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import jwt
import requests

from ..clock import Clock
from ..logs.known_secrets import KNOWN, basic_credentials
from ..logs.redaction import redact
from ..metrics.definitions import TOKEN_REFRESHES
from .errors import SOON_SECONDS, DeadLogin, NotSent, SsoMisconfigured, SsoUnavailable
from .limits import Brake, Limiter, Outcome, Reservation
from .limits.brakes import sso_down, sso_refuses_us
from .response import retry_after_seconds
from .signing_keys import SigningKeys
from .transport import TIMEOUTS_SECONDS

#: The secret fields of a request to SSO and of its response.
_SECRET_FIELDS = ("token", "refresh_token", "code", "code_verifier", "access_token", "id_token")

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


#: How long a person's login waits for one of the calls that the fleet may make at once.
_LOGIN_WAIT_SECONDS = 20.0

#: Gets a new refresh token, and the character that the access token beside it names; None if it names none.
SaveRotated = Callable[[str, int | None], None]


@dataclass(frozen=True)
class Tokens:
    """The tokens of one character; `repr` hides them."""

    character_id: int
    name: str
    #: Changes when the character is sold; empty if SSO left it out.
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
        self,
        http: requests.Session,
        *,
        base_url: str,
        client_id: str,
        client_secret: str,
        clock: Clock,
        limiter: Limiter,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._client_id = client_id
        self._client_secret = client_secret
        if client_secret:
            KNOWN.add(client_secret, *basic_credentials(client_id, client_secret), lasting=True)
        self._clock = clock
        self._limiter = limiter
        self._keys = SigningKeys(http, base_url=base_url, clock=clock, shared=limiter.client)

    def refresh(self, refresh_token: str, *, save_rotated: SaveRotated | None = None) -> Tokens:
        """Return new tokens. SSO may have replaced the refresh token, and the old one is then void.

        `save_rotated` is called with the new one before anything else is done with the response, which may still turn
        out to be unusable, or another character's. Raises `NotSent`, `DeadLogin`, `SsoMisconfigured`,
        `SsoUnavailable`, and what `save_rotated` raises.
        """
        reservation = self._limiter.reserve_sso()
        counted, outcome = "unavailable", Outcome(spent=0)
        try:
            # Before SSO rotates the token: keys that cannot be read now would not be readable afterwards either.
            self._keys.load()
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
            tokens = self._tokens(self._request_token(form, save_rotated), refresh_token)
            counted, outcome = "refreshed", Outcome(spent=0, ok=True)
        except DeadLogin:
            counted, outcome = "dead_login", Outcome(spent=0, ok=True)
            raise
        except SsoMisconfigured as error:
            counted, outcome = "misconfigured", Outcome(spent=0, brake=sso_refuses_us(str(error)))
            raise
        except SsoUnavailable as error:
            # It would be the same for every login; but a wrong clock is this host's alone.
            outcome = Outcome(spent=0, brake=None if error.is_local else _brake(error))
            raise
        finally:
            TOKEN_REFRESHES.labels(counted).inc()
            self._limiter.settle(reservation, outcome)
        return tokens

    def exchange_code(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Return the tokens of a new login.

        Raises as `refresh`.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
        }
        with self._user_call():
            self._keys.load()
            return self._tokens(self._request_token(form), "")

    @contextlib.contextmanager
    def _user_call(self) -> Iterator[None]:
        """Take one of the calls that the fleet may make at once; a failure is this login's, and brakes nothing.

        Raises `NotSent` if SSO is down, or there is no room for a while.
        """
        reservation, outcome = self._user_reservation(), Outcome(spent=0)
        try:
            yield
            outcome = Outcome(spent=0, ok=True)
        finally:
            self._limiter.settle(reservation, outcome)

    def _user_reservation(self) -> Reservation:
        deadline = time.monotonic() + _LOGIN_WAIT_SECONDS
        while True:
            try:
                return self._limiter.reserve_sso(for_user=True)
            except NotSent as error:
                if not error.cause.startswith("concurrency:") or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def revoke(self, refresh_token: str) -> None:
        """Revoke a login at SSO (RFC 7009); one that is dead or unknown there is not an error.

        Raises `NotSent`, `SsoMisconfigured`, `SsoUnavailable`.
        """
        reservation, outcome = self._limiter.reserve_sso(), Outcome(spent=0)
        try:
            response = self._post("revoke", {"token": refresh_token, "token_type_hint": "refresh_token"})
            if response.status_code != 200:
                _raise_for(response, _json_object(response))
            outcome = Outcome(spent=0, ok=True)
        finally:
            self._limiter.settle(reservation, outcome)

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

    def _request_token(self, form: dict[str, str], save_rotated: SaveRotated | None = None) -> dict[str, Any]:
        """Return SSO's response; `save_rotated` gets a new refresh token before anything else is done with it."""
        response = self._post("token", form)
        body = _json_object(response)
        _register(body)
        rotated = body.get("refresh_token")
        if save_rotated is not None and isinstance(rotated, str) and rotated not in ("", form.get("refresh_token")):
            save_rotated(rotated, _named_character(body.get("access_token")))
        if response.status_code != 200 or not body.get("access_token"):
            _raise_for(response, body)
        return body

    def _post(self, endpoint: str, form: dict[str, str]) -> requests.Response:
        # The token endpoint accepts only form-encoded bodies since 2021-11.
        auth = (self._client_id, self._client_secret) if self._client_secret else None
        if auth is None:
            form = {**form, "client_id": self._client_id}
        _register(form)
        try:
            return self._http.post(
                f"{self._base_url}/v2/oauth/{endpoint}",
                data=form,
                auth=auth,
                timeout=TIMEOUTS_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise SsoUnavailable(f"SSO did not answer: {type(error).__name__}") from error

    def _tokens(self, response: Mapping[str, Any], refresh_token: str) -> Tokens:
        access_token = str(response["access_token"])
        claims = self._claims(access_token)
        return Tokens(
            character_id=_character_id(claims.get("sub")),
            name=str(claims.get("name", "")),
            owner_hash=str(claims.get("owner") or ""),
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
            key = self._keys.get(str(header.get("kid", "")))
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
        if not isinstance(claims["exp"], (int, float)):
            raise SsoUnavailable("SSO's access token has no time of expiry that can be read")
        if claims["exp"] * 1000 <= self._clock.now_ms():
            raise SsoUnavailable("SSO's access token has already expired: check this host's clock", is_local=True)
        return claims

    def _issuers(self) -> tuple[str, ...]:
        """Return all spellings of the issuer: CCP uses it with and without scheme, and documents it with a slash."""
        host = urlsplit(self._base_url).netloc
        return (host, self._base_url, f"{self._base_url}/", f"https://{host}", f"https://{host}/")


def _brake(error: SsoUnavailable) -> Brake:
    seconds = error.retry_after_seconds
    return sso_down(str(error), retry_after_seconds=seconds if seconds > SOON_SECONDS else None)


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


def _named_character(access_token: object) -> int | None:
    """Return the character that an access token names, before anything of it is checked."""
    try:
        return _character_id(jwt.decode(str(access_token), options={"verify_signature": False}).get("sub"))
    except (jwt.PyJWTError, ValueError, SsoUnavailable):
        return None


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
    seconds = retry_after_seconds(status, response.headers)
    raise SsoUnavailable(message, retry_after_seconds=SOON_SECONDS if seconds is None else seconds)
