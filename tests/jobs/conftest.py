"""The services that jobs use: a real SQLite file, a real Redis, and the sandbox's ESI and SSO over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from nomad_actors.app import App, create_app
from nomad_actors.clock import ManualClock
from nomad_actors.jobs.services import Services
from nomad_actors.settings import Settings
from nomad_actors.store import Login
from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer
from tests.support.databases import new_database

#: 2026-11-01T12:00:00Z
NOW_S = 1_793_534_400
#: The files whose tests are about rows in the database.
ON_BOTH = ("test_bad_rows", "test_cache_cleanup", "test_historical_data", "test_token_refresh")


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """An ESI and an SSO with a few characters; their time stops until the test moves it."""
    with SandboxServer(characters=3, clock=SandboxClock(frozen_at_s=NOW_S)) as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    """Our clock, with the sandbox's time."""
    return ManualClock(NOW_S * 1000)


@pytest.fixture
def advance(clock: ManualClock, sandbox: SandboxServer) -> Callable[[float], None]:
    """`advance(seconds)`: let time pass, here and in the sandbox."""

    def pass_(seconds: float) -> None:
        clock.advance(seconds=seconds)
        sandbox.advance(seconds)

    return pass_


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some files on both kinds of database."""
    if "database_url" in metafunc.fixturenames and Path(str(metafunc.module.__file__)).stem in ON_BOTH:
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without rows."""
    return new_database(request, tmp_path / "nomad.db")


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, database_url: str, sandbox: SandboxServer) -> Settings:
    """Settings with the sandbox's addresses."""
    return Settings(
        redis_url=redis_url,
        database_url=database_url,
        var_dir=tmp_path,
        token_keys=("a key for tests",),
        eve_client_id="sandbox-client",
        eve_client_secret="sandbox-secret",
        esi_base_url=sandbox.base_url,
        sso_base_url=sandbox.base_url,
    )


@pytest.fixture
def app(settings: Settings, clock: ManualClock) -> Iterator[App]:
    """An application of this test's own; no worker runs its jobs."""
    app = create_app(settings, clock=clock)
    yield app
    app.close()


@pytest.fixture
def services(app: App) -> Services:
    """The services that the jobs' `run` gets."""
    return app.services


@pytest.fixture
def seeded(services: Services, sandbox: SandboxServer) -> dict[str, Any]:
    """The stored login of a sandbox character with all scopes."""
    given = sandbox.logins()[0]
    names = ("character_id", "user_id", "name", "owner_hash", "scopes", "refresh_token")
    login = {name: given[name] for name in names}
    services.store.logins.save(**login)
    return login


@pytest.fixture
def login_of(services: Services) -> Callable[[int], Login]:
    """`login_of(character_id)`: the stored login, which must exist."""

    def get(character_id: int) -> Login:
        login = services.store.logins.get(character_id)
        assert login is not None
        return login

    return get


@pytest.fixture
def rows(services: Services) -> Callable[[str], list[tuple[Any, ...]]]:
    """`rows(query)`: the rows that the database returns."""

    def ask(query: str) -> list[tuple[Any, ...]]:
        with services.store.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    return ask


@pytest.fixture
def misconfigured(settings: Settings, clock: ManualClock, services: Services) -> Iterator[Services]:
    """The same services with a client secret that SSO does not know."""
    other = create_app(replace(settings, eve_client_secret="wrong"), clock=clock)
    yield replace(services, sso=other.services.sso)
    other.close()


@pytest.fixture
def cache_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the cache's Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
