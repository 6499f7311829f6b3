from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.esi.checks import isk
from nomad_actors.exact_json import loads
from nomad_actors.store import Snapshot, Store, history
from nomad_actors.store.history import JOURNAL
from nomad_actors.store.isk import to_isk
from nomad_actors.store.schema import wallet_journal

CHARACTER = 90000001


def entry(**amounts: Any) -> dict[str, Any]:
    return {"id": 1, "date": "2026-10-01T00:00:00Z", "ref_type": "x", "description": "d", **amounts}


def stored(store: Store) -> Any:
    with store.database.read() as connection:
        return connection.execute(sa.select(wallet_journal)).one()


@pytest.mark.parametrize(
    "text", ["0.01", "-0.29", "1.1", "12345678901234567.89", "-32233720368547757", "70000000000000.07"]
)
def test_isk_are_exact_from_the_json_to_the_column_and_back(store: Store, save_login: Any, text: str) -> None:
    save_login(CHARACTER)
    amount = loads(text)
    assert isk(amount) is None
    with store.database.write() as connection:
        history.absorb(connection, Snapshot(CHARACTER, JOURNAL, [entry(amount=amount, balance=amount)], 1))
    row = stored(store)
    assert isinstance(row.amount, Decimal)
    assert (row.amount, row.balance, row.extra) == (Decimal(text), Decimal(text), None)
    with store.database.read() as connection:
        total = connection.execute(sa.select(wallet_journal.c.amount + wallet_journal.c.balance)).scalar_one()
    assert total == 2 * Decimal(text)


def test_what_rounding_changed_is_kept_beside_the_amount(store: Store, save_login: Any) -> None:
    save_login(CHARACTER)
    with store.database.write() as connection:
        snapshot = Snapshot(CHARACTER, JOURNAL, [entry(amount=loads("1.005"), balance=loads("1e-999999999"))], 1)
        history.absorb(connection, snapshot)
    row = stored(store)
    assert (row.amount, row.balance) == (Decimal("1.00"), Decimal(0))
    assert row.extra == {"amount": Decimal("1.005"), "balance": Decimal("1e-999999999")}


def test_a_float_is_refused(store: Store, save_login: Any) -> None:
    save_login(CHARACTER)
    row = {"character_id": CHARACTER, "id": 1, "date_ms": 1, "ref_type": "x", "description": "d", "amount": 0.1}
    with pytest.raises(sa.exc.StatementError, match="ISK are Decimal, not float"), store.database.write() as connection:
        connection.execute(sa.insert(wallet_journal), row)


@pytest.mark.parametrize("text", ["92233720368547758", "-1e17", "1e400", "Infinity", "NaN", '"5"', "true"])
def test_an_amount_that_does_not_fit_is_no_isk(text: str) -> None:
    assert isk(loads(text)) is not None


@pytest.mark.parametrize(("number", "isk"), [("0.005", "0.00"), ("0.015", "0.02"), ("-0.005", "0.00"), ("7", "7.00")])
def test_rounding_is_half_to_even(number: str, isk: str) -> None:
    assert to_isk(Decimal(number)) == Decimal(isk)
