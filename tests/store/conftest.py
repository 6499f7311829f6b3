"""A real database for the store's tests: a SQLite file, and a PostgreSQL server if one is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nomad_actors.clock import ManualClock
from nomad_actors.store import Store, TokenCipher
from tests.support.databases import new_database
from tests.support.postgres import Postgres

#: 2026-11-01T00:00:00Z
START_MS = 1_793_491_200_000


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The URL of the test run's PostgreSQL."""
    return postgres.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without rows; each test runs on both kinds."""
    return new_database(request, tmp_path / "var" / "nomad.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def unmigrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/unmigrated.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    postgres.empty()
    return postgres.url


@pytest.fixture
def clock() -> ManualClock:
    """A clock that shows 2026-11-01."""
    return ManualClock(START_MS)


@pytest.fixture
def store(database_url: str, clock: ManualClock) -> Iterator[Store]:
    """A store on an empty database."""
    store = Store(database_url, cipher=TokenCipher(["a key for tests"]), clock=clock)
    yield store
    store.close()


@pytest.fixture
def save_login(store: Store) -> Callable[..., None]:
    """`save_login(character_id, **changed)`: save a complete login."""

    def save(character_id: int = 90000001, **changed: object) -> None:
        login: dict[str, object] = {
            "user_id": 7,
            "name": "Ada Voss",
            "owner_hash": "owner",
            "scopes": ["esi-wallet.read_character_wallet.v1"],
            "refresh_token": "first refresh token",
        }
        store.logins.save(character_id=character_id, **(login | changed))  # type: ignore[arg-type]

    return save
