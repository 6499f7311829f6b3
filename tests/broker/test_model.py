"""Random steps against the model: state, counts, order and story agree after each; `make chaos` takes thousands."""

from __future__ import annotations

import random
from collections import Counter

from chaos.random_steps import take_steps


def test_the_scripts_and_the_model_agree_after_every_step(redis_url: str) -> None:
    draw, taken = random.Random(20261123), Counter[str]()
    for _ in range(9):
        taken += take_steps(redis_url, draw, 150)
    # Steps that never come deep would agree about nothing much.
    deep = {"settle": 100, "retry": 30, "cancel": 30, "recovered": 50, "late": 10, "lost 3 times": 5, "report": 30}
    few = {name: taken[name] for name, least in deep.items() if taken[name] < least}
    assert not few, taken
