"""The example queries of docs/data.md, on the databases that they are for."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.store import Store
from nomad_actors.store.views import VIEWS

from .conftest import CHARACTER, DAY_MS, NOW_MS, OCTOBER_MS

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
FOUND = re.findall(
    r"^### ([^\n]+)\n\n(PostgreSQL(?: and SQLite)?)\.[^\n]*\n\n```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL
)
QUERIES = {title: (databases, sql) for title, databases, sql in FOUND}


def iso(day: int) -> str:
    return f"2026-10-{day:02}T00:00:00"


#: What each query must find in the month of the fixture `october`; amounts as doubles, times as text.
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "Balance over time": [
        ("2026-10-02T12:00:00", 100.25),
        ("2026-10-02T18:00:00", 150.25),
        ("2026-10-05T00:00:00", 129.75),
        ("2026-10-21T00:00:00", 70000000000129.82),
    ],
    "Income by kind per day": [
        (iso(2), "bounty_prizes", 150.25),
        (iso(21), "player_donation", 70000000000000.07),
    ],
    # Four sold at 10.50, bought at 6.00 on average.
    "Profit per item": [(34, 4, 42.0, 18.0)],
    "Open orders": [("buy", 1, 200.0, 200.0), ("sell", 1, 420.0, None)],
    "How long orders take to fill": [(34, 1, 48.0)],
    "Skillpoints per day": [(iso(2), None), (iso(3), 256_000 - 45_255)],
    "Industry output": [(587, 1, 10, 12.5)],
    "Holes": [("Ada Voss", "wallet_journal", iso(1), iso(2), "retention", "from 5 to 9")],
    "Corrections": [(iso(2), "wallet_journal", 1, "amount", "1", "2")],
    "Top counterparties": [
        (502, 1, 70000000000000.07),
        (500, 2, 150.25),
        (501, 1, -20.5),
    ],
}


def plain(value: Any) -> Any:
    """Return a value as both databases have it."""
    if isinstance(value, datetime):
        return value.isoformat().removesuffix("+00:00")
    if isinstance(value, str):
        return value.removesuffix(".000Z")
    return value if value is None or isinstance(value, int) else float(value)


def test_every_query_of_the_page_is_run() -> None:
    assert QUERIES.keys() == EXPECTED.keys()
    assert PAGE.count("```sql") == len(QUERIES) + 1  # and the one that makes the role


@pytest.mark.usefixtures("october")
def test_the_queries_find_what_happened(store: Store) -> None:
    values = {"$character": str(CHARACTER), "$__from": str(OCTOBER_MS), "$__to": str(OCTOBER_MS + 31 * DAY_MS)}
    for title, (databases, sql) in QUERIES.items():
        if store.database.is_sqlite and "SQLite" not in databases:
            continue
        for name, value in values.items():
            sql = sql.replace(name, value)
        with store.database.read() as connection:
            rows = [tuple(map(plain, row)) for row in connection.execute(sa.text(sql))]
        assert rows == EXPECTED[title], title


@pytest.mark.usefixtures("october")
def test_outside_of_the_range_the_queries_find_nothing(store: Store) -> None:
    values = {"$character": str(CHARACTER), "$__from": str(NOW_MS), "$__to": str(NOW_MS + DAY_MS)}
    ranged = {title: sql for title, (databases, sql) in QUERIES.items() if "$__from" in sql and "SQLite" in databases}
    assert len(ranged) >= 6
    for title, sql in ranged.items():
        for name, value in values.items():
            sql = sql.replace(name, value)
        with store.database.read() as connection:
            assert connection.execute(sa.text(sql)).all() == [], title


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_role_of_the_page_reads_the_views_and_nothing_else(store: Store) -> None:
    store.migrate()
    (sql,) = re.findall(r"```sql\n(CREATE ROLE.*?)```", PAGE, re.DOTALL)
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS grafana")
        connection.exec_driver_sql(sql)
        connection.exec_driver_sql("SET LOCAL ROLE grafana")
        assert set(re.findall(r"v1_\w+", sql)) == {view.name for view in VIEWS}
        for view in VIEWS:
            connection.exec_driver_sql(f"SELECT * FROM {view.name}")
        for secret in ("logins", "documents", "wallet_journal", "admin_sessions"):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), connection.begin_nested():
                connection.exec_driver_sql(f"SELECT * FROM {secret}")
        connection.exec_driver_sql("RESET ROLE")
        connection.exec_driver_sql("DROP OWNED BY grafana; DROP ROLE grafana")
