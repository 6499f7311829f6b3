"""Processes that refresh logins are killed while SSO, Redis and the database fail: short, on both databases."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from chaos.killed_refreshes import killed_refreshes
from chaos.login_fleet import LoginDatabase
from tests.support.postgres import Postgres

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class FrozenPostgres:
    """PostgreSQL, which is away while all its processes are frozen."""

    server: Postgres

    @property
    def url(self) -> str:
        return self.server.url

    def away(self) -> AbstractContextManager[None]:
        return self.server.frozen()


@pytest.mark.parametrize(("database", "seconds"), [("sqlite", 15.0), ("postgres", 8.0)])
def test_no_login_is_lost_that_could_be_kept(request: pytest.FixtureRequest, database: str, seconds: float) -> None:
    chosen: LoginDatabase | None = None
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        server.empty()
        chosen = FrozenPostgres(server)
    assert killed_refreshes(random.Random(42), seconds, chosen)
