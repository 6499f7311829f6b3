"""The short form of every long proof: the same code, a few seconds each."""

from __future__ import annotations

import random

import pytest

from chaos.__main__ import PROOFS
from chaos.stepped_redis import NoSteppedRedis

#: Random steps, requests and hostile values are counted, not timed, in tests of their own.
SHORT = sorted(set(PROOFS) - {"random_steps", "api_fuzz", "hostile"})


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_the_short_form_of_a_long_proof_holds(name: str) -> None:
    try:
        assert PROOFS[name](random.Random(42), 3.0)
    except NoSteppedRedis as missing:
        pytest.skip(str(missing))
