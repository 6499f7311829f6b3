"""Rows are inserted or replaced, many at a time, with the same result on both databases."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.store import Store
from nomad_actors.store.schema import (
    characters,
    documents,
    market_orders,
    order_events,
    set_aside_rows,
    wallet_journal,
)
from nomad_actors.store.upsert import upsert

FEW, MANY, IN_PARTS = 3, 150, 10_050


@pytest.fixture
def filled(store: Store, save_login: Callable[..., None]) -> Store:
    save_login(1)
    return store


def entry(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "character_id": 1,
        "id": 2**62 + number,
        "date_ms": number,
        "ref_type": "bounty_prizes",
        "description": 'tab \t, newline \n, \\N, "quotes" and ünïcode \U0001f680',
        "amount": Decimal("-92233720368547757.99") + number,
        "balance": None if number % 2 else Decimal("0.01"),
        "context_id": -(2**63),
        "context_id_type": None,
        "first_party_id": None,
        "second_party_id": number,
        "reason": "",
        "tax": 5,
        "tax_receiver_id": None,
        "extra": {"exact": Decimal("0.1234567890123456789"), "null": None} if number % 3 == 0 else None,
    } | changed


def stored(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    with store.database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


@pytest.mark.parametrize("count", [FEW, MANY, IN_PARTS])
def test_rows_are_inserted_and_replaced_exactly(filled: Store, count: int) -> None:
    rows = [entry(number) for number in range(count)]
    later = [{**row, "amount": Decimal(7), "extra": None} for row in rows[1:]]
    with filled.database.write() as connection:
        upsert(connection, wallet_journal, rows)
    assert stored(filled, wallet_journal) == rows
    with filled.database.write() as connection:
        # Twice in one transaction.
        upsert(connection, wallet_journal, later)
        upsert(connection, wallet_journal, later)
    assert stored(filled, wallet_journal) == [rows[0], *later]


@pytest.mark.parametrize("count", [FEW, MANY, IN_PARTS])
def test_the_last_row_of_a_key_is_used(filled: Store, count: int) -> None:
    rows = [entry(number) for number in range(count)]
    with filled.database.write() as connection:
        upsert(connection, wallet_journal, [*rows, *({**row, "reason": "the last"} for row in reversed(rows))])
    assert {row["reason"] for row in stored(filled, wallet_journal)} == {"the last"}


@pytest.mark.parametrize("count", [FEW, MANY])
def test_unchanged_columns_and_other_keys_than_the_primary_one(filled: Store, count: int) -> None:
    def row(number: int, reason: str, seen_ms: int) -> dict[str, Any]:
        key = {"character_id": 1, "route": "/r", "digest": str(number)}
        return {**key, "reason": reason, "row_json": "{}", "first_seen_ms": seen_ms, "last_seen_ms": seen_ms}

    for reason, seen_ms in (("first", 1), ("second", 2)):
        with filled.database.write() as connection:
            upsert(
                connection,
                set_aside_rows,
                [row(number, reason, seen_ms) for number in range(count)],
                keys=("character_id", "route", "digest"),
                unchanged=("reason", "row_json", "first_seen_ms"),
            )
    found = [(row["reason"], row["first_seen_ms"], row["last_seen_ms"]) for row in stored(filled, set_aside_rows)]
    assert found == [("first", 1, 2)] * count


@pytest.mark.parametrize("count", [FEW, MANY])
def test_nothing_is_replaced_if_every_column_is_unchanged(filled: Store, count: int) -> None:
    rows = [{"character_id": 1, "route": str(number), "body_json": b"1", "pages": 1} for number in range(count)]
    for body in (b"1", b"2"):
        with filled.database.write() as connection:
            upsert(connection, documents, [row | {"body_json": body} for row in rows], unchanged=("body_json", "pages"))
    assert {row["body_json"] for row in stored(filled, documents)} == {b"1"}


@pytest.mark.parametrize("table", [characters, market_orders, order_events, documents], ids=lambda table: table.name)
def test_every_type_of_column_is_copied(filled: Store, table: sa.Table) -> None:
    """Those of a table with flags, JSON, texts of a length, ISK and a counter."""
    values = {
        sa.LargeBinary: b"x\0\xff",
        sa.Boolean: True,
        sa.JSON: ["a", {"b": Decimal("1.5")}],
        sa.String: "text",
        sa.Integer: 1,
    }

    def value(column: sa.Column[Any], number: int) -> Any:
        if column.name in ("order_id", "event_id") or (table is characters and column.primary_key):
            return number + 2
        if column.name == "route":
            return f"{number:05}"
        kind = next((found for base, found in values.items() if isinstance(column.type, base)), None)
        return Decimal("1.25") if kind is None and column.name in ("price", "escrow") else kind or None

    rows = [{column.name: value(column, number) for column in table.c} for number in range(MANY)]
    for _ in range(2):
        with filled.database.write() as connection:
            upsert(connection, table, rows)
    found = [row for row in stored(filled, table) if table is not characters or row["character_id"] > 1]
    assert found == rows


@pytest.mark.parametrize(
    "bad", [{"description": "a secret \0"}, {"amount": Decimal(10) ** 17 * 12}, {"character_id": 2}]
)
def test_the_error_of_a_row_does_not_contain_its_values(filled: Store, bad: dict[str, Any]) -> None:
    if filled.database.is_sqlite and "character_id" not in bad:
        bad = {"ref_type": None}
    rows = [entry(number, reason="a secret") for number in range(MANY)]
    with filled.database.write() as connection, pytest.raises(sa.exc.DBAPIError) as caught:
        upsert(connection, wallet_journal, [*rows[:-1], rows[-1] | bad])
    assert "secret" not in str(caught.value)
