"""The views for reading by SQL: their columns are a contract, migrations keep them, and nothing secret is in them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from nomad_actors.clock import ManualClock
from nomad_actors.errors import Unusable
from nomad_actors.store import Store, migrate, schema
from nomad_actors.store.database import Database
from nomad_actors.store.views import VIEWS
from tests.support.postgres import Postgres

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
CHARACTER = 90000001
#: 2026-10-31T23:59:59.999Z, whose last digits a double of seconds rounds away.
AT_MS = 1_793_491_199_999
#: A double of it is wrong.
BALANCE = Decimal("70000000000000.07")
#: By the page's types: PostgreSQL's name, and what SQLite stores.
TYPES = {
    "id": ("bigint", "integer"),
    "number": ("bigint", "integer"),
    "ms": ("bigint", "integer"),
    "hundredths": ("bigint", "integer"),
    "isk": ("numeric", "real"),
    "time": ("timestamp with time zone", "text"),
    "text": ("text", "text"),
    "yes/no": ("boolean", "integer"),
    "fraction": ("double precision", "real"),
    "json": ("json", "text"),
}


def documented() -> dict[str, list[tuple[str, str]]]:
    """Return the columns of each view and their types, as docs/data.md lists them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for heading in re.finditer(r"^### (v1_\w+)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL):
        for names, type_ in re.findall(r"^\| (`[^|]+`) \| ([a-z/]+) \|", heading[2], re.MULTILINE):
            for name in re.findall(r"`(\w+)`", names):
                found.setdefault(heading[1], []).extend(expanded(name, type_))
    return found


def expanded(name: str, type_: str) -> list[tuple[str, str]]:
    """Return the column with the one that every time, and every amount, has beside it."""
    beside = {"time": ("_ms", "ms"), "isk": ("_hundredths", "hundredths")}.get(type_)
    return [(name, type_)] if beside is None else [(name, type_), (name + beside[0], beside[1])]


def value_of(column: sa.Column[Any]) -> Any:
    """Return a value that fits the column and is not empty."""
    if column.name == "character_id":
        return CHARACTER
    if column.name.endswith("_ms"):
        return AT_MS
    if isinstance(column.type, sa.JSON):
        return {"a": 1}
    if isinstance(column.type, sa.BigInteger):
        return 2**62
    return {bool: True, int: 1, float: 0.5, Decimal: BALANCE, str: "text"}[column.type.python_type]


@pytest.fixture
def filled(store: Store, save_login: Callable[..., None]) -> Store:
    """A database with one row, without a NULL, in every table that a view shows."""
    save_login(CHARACTER)
    tables = {table.name: table for view in VIEWS for table in view.tables}
    with store.database.write() as connection:
        for table in tables.values():
            row = {column.name: value_of(column) for column in table.c}
            is_character = table is schema.characters
            connection.execute(sa.update(table).values(row) if is_character else sa.insert(table).values(row))
    return store


def read(store: Store, query: str) -> list[sa.Row[Any]]:
    with store.database.read() as connection:
        return list(connection.execute(sa.text(query)).all())


def test_the_page_lists_exactly_the_views_and_their_columns() -> None:
    declared = {view.name: [name for name, _ in view.columns(is_sqlite=True)] for view in VIEWS}
    assert {name: [column for column, _ in columns] for name, columns in documented().items()} == declared


def test_the_columns_have_the_documented_types(filled: Store) -> None:
    on_sqlite = filled.database.is_sqlite
    for view, columns in documented().items():
        names = [f'{"typeof" if on_sqlite else "pg_typeof"}("{name}")' for name, _ in columns]
        (found,) = read(filled, f"SELECT {', '.join(f'CAST({name} AS TEXT)' for name in names)} FROM {view}")
        expected = [TYPES[type_][on_sqlite] for _, type_ in columns]
        assert [each.replace("character varying", "text") for each in found] == expected, view


def test_times_and_amounts_are_exact(filled: Store) -> None:
    (row,) = read(filled, "SELECT date, date_ms, amount, amount_hundredths FROM v1_journal")
    assert (row.date_ms, row.amount_hundredths) == (AT_MS, 7_000_000_000_000_007)
    if filled.database.is_sqlite:
        assert row.date == "2026-10-31T23:59:59.999Z"
    else:
        assert (row.date.isoformat(), row.amount) == ("2026-10-31T23:59:59.999000+00:00", BALANCE)


def test_no_view_shows_a_secret(filled: Store) -> None:
    with filled.database.write() as connection:
        secret = "a secret of the owner"
        connection.execute(sa.update(schema.characters).values(owner_hash=secret, scopes=[secret]))
        connection.execute(sa.update(schema.documents).values(body_json=secret))
    for view in VIEWS:
        (row,) = read(filled, f"SELECT * FROM {view.name}")
        assert "secret of" not in str(row), view
    assert not {table.name for view in VIEWS for table in view.tables} & {
        *("logins", "admin_sessions", "admin_revoked_tokens", "audit_log", "listing_pages")
    }


def upgrade(database: Database, revision: str) -> sa.engine.Connection:
    """Migrate an empty database to an old schema, and return a connection in the same transaction."""
    if database.is_sqlite:
        Path(database.url.database or "").write_bytes(b"")
    connection = database.engine.execution_options(nomad_writes=True).connect()
    config = migrate._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return connection


def test_a_database_of_the_schema_before_gets_the_views_with_its_data(database_url: str) -> None:
    database = Database(database_url)
    with upgrade(database, "0005") as connection:
        character = {
            "character_id": 1,
            "user_id": 7,
            "name": "Ada",
            "owner_hash": "",
            "scopes": "[]",
            "state": "active",
        }
        entry = {"character_id": 1, "id": 5, "date_ms": AT_MS, "ref_type": "x", "description": "d", "amount": 12.34}
        for table, row in (
            ("characters", character | {"state_changed_ms": 1, "created_ms": 1}),
            ("wallet_journal", entry),
        ):
            connection.execute(sa.insert(sa.table(table, *map(sa.column, row))).values(row))
        connection.commit()
    store = Store(database_url, cipher=None, clock=ManualClock(2))
    assert read(store, "SELECT id, amount_hundredths FROM v1_journal") == [(5, 1234)]
    assert [len(read(store, f"SELECT * FROM {view.name}")) for view in VIEWS] == [1, 1] + [0] * (len(VIEWS) - 2)
    store.close()
    database.close()


_NEXT = """
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = "next", "{head}", None, None
def upgrade() -> None:
    with op.batch_alter_table("wallet_journal") as journal:
        journal.alter_column("description", type_=sa.String(500), existing_type=sa.Text(), nullable=True)
        journal.drop_column("reason")
        journal.add_column(sa.Column("reason", sa.Text()))
"""


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A release whose migration changes a table that has a view."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate._SCRIPTS, scripts)
    (scripts / "versions" / "v9999_next.py").write_text(_NEXT.format(head=schema.REVISION))
    monkeypatch.setattr(migrate, "_SCRIPTS", scripts)
    monkeypatch.setattr(migrate, "REVISION", "next")


@pytest.mark.usefixtures("next_release")
def test_a_migration_may_change_tables_that_have_views(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    if database.is_sqlite:
        Path(database.url.database or "").write_bytes(b"")
    before = migrated(database, schema.REVISION)
    after = migrated(database, "next")
    assert before == after
    database.close()


def migrated(database: Database, revision: str) -> list[Any]:
    """Migrate to `revision`, and return the columns of the views."""
    migrate.REVISION = revision
    migrate.bring_up_to_date(database.engine.execution_options(nomad_writes=True))
    with database.engine.connect() as connection:
        return [list(connection.execute(sa.text(f"SELECT * FROM {view.name}")).keys()) for view in VIEWS]


@pytest.mark.usefixtures("next_release")
def test_who_may_read_a_view_may_still_do_so_after_a_migration(postgres: Postgres) -> None:
    postgres.empty()
    database = Database(postgres.url)
    migrated(database, schema.REVISION)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('DROP ROLE IF EXISTS "Graf ana"; CREATE ROLE "Graf ana"')
        connection.exec_driver_sql('GRANT USAGE ON SCHEMA public TO "Graf ana"')
        connection.exec_driver_sql('GRANT SELECT ON v1_journal TO "Graf ana"; GRANT SELECT ON v1_orders TO PUBLIC')
    migrated(database, "next")
    with database.engine.begin() as connection:
        connection.exec_driver_sql('SET LOCAL ROLE "Graf ana"')
        assert connection.exec_driver_sql("SELECT count(*) FROM v1_journal, v1_orders").scalar() == 0
        for hidden in ("v1_skills", "wallet_journal", "logins"):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), connection.begin_nested():
                connection.exec_driver_sql(f"SELECT * FROM {hidden}")
    database.close()


@pytest.mark.usefixtures("next_release")
def test_what_depends_on_a_view_is_named_and_not_dropped(postgres: Postgres) -> None:
    postgres.empty()
    database = Database(postgres.url)
    migrated(database, schema.REVISION)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW of_somebody AS SELECT id FROM v1_journal")
    with pytest.raises(Unusable, match=r"of_somebody.*drop what depends on them"):
        migrated(database, "next")
    with database.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM of_somebody").scalar() == 0
        assert migrate.schema_of(connection).found == schema.REVISION
    database.close()
