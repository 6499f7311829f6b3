"""History is collected while processes are killed and ESI fails: short, on both databases."""

from __future__ import annotations

import random

import pytest

from chaos.year_of_history import year_of_history
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_was_offered_is_stored_and_what_is_missing_is_marked(
    request: pytest.FixtureRequest, database: str
) -> None:
    url = None
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        server.empty()
        url = server.url
    assert year_of_history(random.Random(42), 1.0, url)
