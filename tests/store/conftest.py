"""A real database for the store's tests: a SQLite file, and a PostgreSQL server when one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.local_redis import free_port
from nomad_actors.store import Store, TokenCipher

#: 2026-11-01T00:00:00Z
START_MS = 1_793_491_200_000


def _postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this test run's own."""
    programs = _postgres_programs()
    if programs is None:
        if os.environ.get("NOMAD_REQUIRE_ALL") == "1":
            pytest.fail("no postgres found")
        pytest.skip("postgres is not installed")
    # Not below pytest's own directory, which any pytest that starts, also one that a test starts, closes to others.
    with tempfile.TemporaryDirectory(prefix="nomad-postgres-") as directory:
        yield from _serve_postgres(programs, Path(directory))


def _serve_postgres(programs: Path, directory: Path) -> Iterator[str]:
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    if user:
        shutil.chown(directory, user)
    data, port = directory / "data", free_port()
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "nomad", "--auth", "trust", "--no-sync"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        cwd=directory,
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    control = [str(programs / "pg_ctl"), "-D", str(data)]
    subprocess.run(
        [*control, "-w", "-o", options, "-l", str(directory / "log"), "start"],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        cwd=directory,
    )
    yield f"postgresql://nomad@127.0.0.1:{port}/postgres"
    subprocess.run(
        [*control, "-m", "immediate", "stop"], user=user, check=True, stdout=subprocess.DEVNULL, cwd=directory
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, one test on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/var/nomad.db"
    url = str(request.getfixturevalue("postgres_url"))
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()
    return url


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 2026-11-01."""
    return ManualClock(START_MS)


@pytest.fixture
def store(database_url: str, clock: ManualClock) -> Iterator[Store]:
    """A store on an empty database."""
    store = Store(database_url, cipher=TokenCipher(["a key for tests"]), clock=clock)
    yield store
    store.close()


@pytest.fixture
def save_login(store: Store) -> Callable[..., None]:
    """`save_login(character_id, **changed)`: a login with everything that a login has."""

    def save(character_id: int = 90000001, **changed: object) -> None:
        login: dict[str, object] = {
            "user_id": 7,
            "name": "Ada Voss",
            "owner_hash": "owner",
            "scopes": ["esi-wallet.read_character_wallet.v1"],
            "refresh_token": "first refresh token",
        }
        store.save_login(character_id=character_id, **(login | changed))  # type: ignore[arg-type]

    return save
