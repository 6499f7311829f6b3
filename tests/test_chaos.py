"""The short form of every long proof: the same code, a few seconds each."""

from __future__ import annotations

import random

import pytest

from chaos.__main__ import PROOFS
from chaos.stepped_redis import NoSteppedRedis

#: The random steps are counted, not timed, where the broker's own tests take them.
SHORT = sorted(set(PROOFS) - {"random_steps"})


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_the_short_form_of_a_long_proof_holds(name: str) -> None:
    try:
        assert PROOFS[name](random.Random(42), 3.0)
    except NoSteppedRedis as missing:
        pytest.skip(str(missing))
