"""A reader creates no database and migrates none: it says what to do instead."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from nomad_actors import data
from nomad_actors.errors import Unavailable, Unusable
from nomad_actors.store import Store
from nomad_actors.store.database import Database
from nomad_actors.store.schema import REVISION

from .conftest import CHARACTER
from .test_page import ROOT, url_of

Call = Callable[[data.Data], object]
CALLS: list[Call] = [
    lambda reader: reader.completeness(CHARACTER),
    lambda reader: list(reader.journal(CHARACTER)),
    lambda reader: reader.document(CHARACTER, "/characters/{character_id}/wallet"),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_file_is_named_and_not_created(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "nobody" / "nomad.db"
    with pytest.raises(Unusable, match=r"nomad\.db does not exist .*start the programs of this release first"):
        call(data.connect(database_url=f"sqlite:///{path}"))
    assert list(tmp_path.iterdir()) == []


def test_the_functions_of_the_module_create_nothing_either(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/nomad.db", "PYTHONPATH": str(ROOT)}
    script = f"from nomad_actors import data; data.completeness({CHARACTER})"
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "Unusable" in ran.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_an_older_release_is_not_migrated(store: Store) -> None:
    url = url_of(store)
    with store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v0001'"))
    with contextlib.closing(data.connect(database_url=url)) as reader:
        for _ in range(2):
            with pytest.raises(Unusable, match=f"schema v0001, but this release needs {REVISION}; start the programs"):
                reader.completeness(CHARACTER)
        other = Database(url)
        assert other.schema().found == "v0001"
        other.close()
        # The programs of this release have started meanwhile.
        with store.database.write() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{REVISION}'"))
        assert "wallet_journal" in reader.completeness(CHARACTER)


def test_an_empty_file_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "nomad.db").touch()
    with pytest.raises(Unavailable, match=r"schema \(none\)"):
        data.connect(database_url=f"sqlite:///{tmp_path}/nomad.db").completeness(CHARACTER)
    assert (tmp_path / "nomad.db").stat().st_size == 0
