"""An invalid DATABASE_URL is rejected before anything connects, with one line that names the problem."""

from __future__ import annotations

import pytest

from nomad_actors.errors import SettingsError
from nomad_actors.store.database import Database

SQLITE, POSTGRES = "sqlite:////tmp/nomad.db?", "postgresql://nomad:p4/s5@127.0.0.1:1/nomad?"


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (f"{SQLITE}foo=1", "invalid option 'foo'"),
        (f"{SQLITE}timeout=5&mode=ro", "invalid option 'mode'"),
        (f"{SQLITE}timeout=soon", "invalid option 'timeout'"),
        (f"{SQLITE}check_same_thread=maybe", "invalid option 'check_same_thread'"),
        (f"{SQLITE}cached_statements=99999999999999999999", "invalid option 'cached_statements'"),
        (f"{SQLITE}a%0Ab=1", r"invalid option 'a\\nb'"),
        (f"{POSTGRES}foo=1", "invalid option 'foo'"),
        (f"{POSTGRES}sslmode=require&autocommit=1", "invalid option 'autocommit'"),
        (f"{POSTGRES}prepare_threshold=0", "invalid option 'prepare_threshold'"),
        ("postgresql://nomad@host:port/nomad", "is not a URL"),
        ("postgresql+asyncpg://nomad@host/nomad", r"has the unsupported scheme 'postgresql\+asyncpg'"),
        ("mysql://nomad@host/nomad", "has the unsupported scheme 'mysql'"),
    ],
)
def test_an_unknown_option_is_rejected_by_name(url: str, names: str) -> None:
    if url.startswith("postgresql:"):
        pytest.importorskip("psycopg")
    with pytest.raises(SettingsError, match=f"^DATABASE_URL .*{names}") as refused:
        Database(url)
    assert "\n" not in str(refused.value)
    assert "p4/s5" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *(f"{SQLITE}timeout=5", f"{SQLITE}uri=true&mode=ro"),
        *(f"{POSTGRES}sslmode=require&options=-csearch_path%3Dx", f"{POSTGRES}host=a&host=b"),
        "postgresql+psycopg://nomad@127.0.0.1:1/nomad?keepalives_idle=3",
    ],
)
def test_options_of_the_drivers_are_accepted(url: str) -> None:
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg")
    Database(url).close()
