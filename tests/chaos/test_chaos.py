"""The short form of every long proof: the same code for a few seconds."""

from __future__ import annotations

import random

import pytest

from chaos.__main__ import PROOFS
from chaos.stepped_redis import NoSteppedRedis

#: Other tests run a fixed number of random steps, requests and hostile values, and the killed refreshes.
SHORT = sorted(set(PROOFS) - {"random_steps", "api_fuzz", "hostile", "killed_refreshes"})
SECONDS = 3.0
#: Three thousand jobs instead of a million.
MILLION_SECONDS = 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_the_short_form_of_a_long_proof_passes(name: str) -> None:
    try:
        assert PROOFS[name](random.Random(42), MILLION_SECONDS if name == "million" else SECONDS)
    except NoSteppedRedis as missing:
        pytest.skip(str(missing))
