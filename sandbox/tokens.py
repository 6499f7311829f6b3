"""Access tokens: RS256 JWTs valid for 20 minutes, signed with a key of this process that is published as a JWKS."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from .clock import SandboxClock

LIFETIME_S = 1_200
AUDIENCE = "EVE Online"
KEY_ID = "JWT-Signature-Key"


class BadToken(Exception):
    """Raised if a bearer token is not one of ours or has expired; the message is ESI's."""


@dataclass(frozen=True)
class Claims:
    """The claims of an access token."""

    character_id: int
    client_id: str
    scopes: frozenset[str]


class Signer:
    """Signs and reads access tokens."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._key = _key_of_this_process()

    def sign(
        self, *, issuer: str, client_id: str, character_id: int, name: str, owner: str, scopes: tuple[str, ...]
    ) -> str:
        """Return a JWT with EVE's claims; a single scope is written as a bare string, as CCP's SSO does."""
        now_s = self._clock.now_s()
        claims = {
            "scp": scopes[0] if len(scopes) == 1 else list(scopes),
            "jti": f"{character_id}-{now_s}",
            "kid": KEY_ID,
            "sub": f"CHARACTER:EVE:{character_id}",
            "azp": client_id,
            "tenant": "tranquility",
            "tier": "live",
            "region": "world",
            "aud": [client_id, AUDIENCE],
            "name": name,
            "owner": owner,
            "exp": now_s + LIFETIME_S,
            "iat": now_s,
            "iss": issuer,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def read(self, token: str) -> Claims:
        """Return the claims of a token.

        Raises `BadToken` if it is not one of ours or has expired according to the sandbox's clock.
        """
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                audience=AUDIENCE,
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise BadToken("token is not valid") from error
        if claims["exp"] <= self._clock.now_s():
            raise BadToken("token is expired")
        scp = claims["scp"]
        return Claims(
            character_id=int(claims["sub"].rsplit(":", 1)[1]),
            client_id=claims["azp"],
            scopes=frozenset([scp] if isinstance(scp, str) else scp),
        )

    def key_set(self) -> dict[str, object]:
        """Return the JWKS document with the public half of the key."""
        key = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "alg": "RS256", "kid": KEY_ID, "use": "sig"}], "SkipUnresolvedJsonWebKeys": True}


@functools.cache
def _key_of_this_process() -> rsa.RSAPrivateKey:
    """Generate the signing key once per process: it takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
