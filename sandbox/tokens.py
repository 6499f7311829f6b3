"""Access tokens: JWTs valid for 20 minutes, signed with keys of this process that are published as a JWKS."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from .clock import SandboxClock
from .token_variations import VARIATIONS, Variation

LIFETIME_S = 1_200
AUDIENCE = "EVE Online"
KEY_ID = "JWT-Signature-Key"
EC_KEY_ID = "JWT-Signature-Key-EC"
#: What a token "signed" with HS256 is signed with: nothing secret.
SHARED_SECRET = "a shared secret of at least thirty-two bytes"


class BadToken(Exception):
    """Raised if a bearer token is not one of ours or has expired; the message is ESI's."""

    def __init__(self, message: str, *, is_expired: bool = False) -> None:
        super().__init__(message)
        self.is_expired = is_expired


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
        self._key, self._ec_key = _keys_of_this_process()

    def sign(
        self,
        *,
        issuer: str,
        client_id: str,
        character_id: int,
        name: str,
        owner: str,
        scopes: tuple[str, ...],
        variation: str | None = None,
    ) -> str:
        """Return a JWT with EVE's claims; a single scope is written as a bare string, as CCP's SSO does.

        `variation` is a name of `token_variations.VARIATIONS`.
        """
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
        return self._encode(claims, VARIATIONS[variation] if variation else Variation())

    def _encode(self, claims: dict[str, Any], variation: Variation) -> str:
        keys: dict[str, tuple[Any, str]] = {
            "RS256": (self._key, KEY_ID),
            "ES256": (self._ec_key, EC_KEY_ID),
            "HS256": (SHARED_SECRET, KEY_ID),
        }
        key, key_id = keys[variation.algorithm]
        # Not `jwt.encode`, which refuses some of the claims that a client must be able to refuse.
        payload = json.dumps(variation.change(claims), separators=(",", ":")).encode()
        headers = {"kid": variation.key_id or key_id, "typ": "JWT"}
        return jwt.api_jws.encode(payload, key, algorithm=variation.algorithm, headers=headers)

    def read(self, token: str) -> Claims:
        """Return the claims of a token.

        Raises `BadToken` if it is not one of ours or has expired according to the sandbox's clock.
        """
        try:
            is_ec = jwt.get_unverified_header(token).get("kid") == EC_KEY_ID
            claims = jwt.decode(
                token,
                self._ec_key.public_key() if is_ec else self._key.public_key(),
                algorithms=["ES256" if is_ec else "RS256"],
                audience=AUDIENCE,
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise BadToken("token is not valid") from error
        if int(claims["exp"]) <= self._clock.now_s():
            raise BadToken("token is expired", is_expired=True)
        scp = claims["scp"]
        return Claims(
            character_id=int(claims["sub"].rsplit(":", 1)[1]),
            client_id=claims["azp"],
            scopes=frozenset([scp] if isinstance(scp, str) else scp),
        )

    def key_set(self) -> dict[str, object]:
        """Return the JWKS document with the public halves of both keys (esi-docs, SSO: RS256 and ES256)."""
        key = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        ec_key = json.loads(ECAlgorithm.to_jwk(self._ec_key.public_key()))
        keys = [
            {**key, "alg": "RS256", "kid": KEY_ID, "use": "sig"},
            {**ec_key, "alg": "ES256", "kid": EC_KEY_ID, "use": "sig"},
        ]
        return {"keys": keys, "SkipUnresolvedJsonWebKeys": True}


@functools.cache
def _keys_of_this_process() -> tuple[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]:
    """Generate the signing keys once per process: the first takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048), ec.generate_private_key(ec.SECP256R1())
