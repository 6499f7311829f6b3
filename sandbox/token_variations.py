"""Access tokens that differ from the usual one: other spellings that are valid, and flaws that a client must find.

Each changes the claims, or how they are signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

Claims = dict[str, Any]


@dataclass(frozen=True)
class Variation:
    """What is different: the claims, the key's id in the header, or the algorithm."""

    change: Callable[[Claims], Claims] = field(default=lambda claims: claims)
    key_id: str | None = None
    algorithm: str = "RS256"


def _with(**values: object) -> Variation:
    return Variation(lambda claims: claims | values)


def _issuer(make: Callable[[str], str]) -> Variation:
    return Variation(lambda claims: claims | {"iss": make(claims["iss"])})


def _without_owner(claims: Claims) -> Claims:
    return {name: value for name, value in claims.items() if name != "owner"}


def _sub_of_another(claims: Claims) -> Claims:
    return claims | {"sub": f"CHARACTER:EVE:{int(claims['sub'].rsplit(':', 1)[1]) + 1}"}


VARIATIONS: Final[Mapping[str, Variation]] = {
    "no-owner": Variation(_without_owner),
    "other-owner": _with(owner="an-owner-that-nobody-has="),
    # Valid: CCP writes the issuer with and without the scheme, and with a slash in prose.
    "iss-bare": _issuer(lambda issuer: urlsplit(issuer).netloc),
    "iss-https": _issuer(lambda issuer: f"https://{urlsplit(issuer).netloc}"),
    "iss-slash": _issuer(lambda issuer: f"{issuer}/"),
    # The typo of CCP's own Python snippet.
    "iss-wrong": _with(iss="https://logineveonline.com"),
    "unknown-kid": Variation(key_id="a-key-that-is-not-published"),
    "exp-past": Variation(lambda claims: claims | {"exp": claims["iat"] - 60}),
    "exp-text": Variation(lambda claims: claims | {"exp": str(claims["exp"])}),
    "hs256": Variation(algorithm="HS256"),
    # Valid: the second key of the JWKS.
    "es256": Variation(algorithm="ES256"),
    "aud-other": Variation(lambda claims: claims | {"aud": ["another-application", *claims["aud"][1:]]}),
    "aud-text": Variation(lambda claims: claims | {"aud": claims["aud"][-1]}),
    "sub-other": Variation(_sub_of_another),
}
