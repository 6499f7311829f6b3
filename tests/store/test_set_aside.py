"""A row that cannot be stored is set aside with its reason, the others are stored; the same on both databases."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors import exact_json
from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, EsiResponse
from nomad_actors.esi.checks import ListOf, ObjectOf
from nomad_actors.esi.sifting import sifted
from nomad_actors.store import Changes, Store
from nomad_actors.store.history import INDUSTRY_JOBS, JOURNAL, ORDERS, ORDERS_HISTORY, TRANSACTIONS
from nomad_actors.store.schema import set_aside_rows, wallet_journal
from nomad_actors.store.set_aside import MAX_CHARACTERS, SetAsideRows, set_aside_now
from tests.support.esi_rows import bad_rows, row_of, strange_rows

CHARACTER = 90000001
#: Within the last hour of the tests' clock.
HOUR_MS = 1_793_491_200_000 - 3_600_000
TABLES = {
    JOURNAL: "wallet_journal",
    TRANSACTIONS: "wallet_transactions",
    ORDERS: "market_orders",
    ORDERS_HISTORY: "market_orders",
    INDUSTRY_JOBS: "industry_jobs",
}
BAD = {"id": 5, "ref_type": "x", "description": "d"}


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)


@pytest.fixture
def save(store: Store) -> Callable[..., Changes]:
    """`save(route, body, as_of_ms=1_000, character_id=CHARACTER)`: sift and save, as the jobs do."""

    def sift_and_save(route: str, body: Any, as_of_ms: int = 1_000, character_id: int = CHARACTER) -> Changes:
        response = sifted(ROUTES[route], EsiResponse(200, False, body, '"a"', None, 0, 1, None))
        # Not decades ago: then ESI would no longer show what became of an order.
        return store.documents.save(character_id, route, response, as_of_ms=HOUR_MS + as_of_ms, next_due_ms=0)

    return sift_and_save


def _entry(number: int) -> dict[str, Any]:
    return {"id": number, "date": "2026-10-01T12:00:00Z", "ref_type": "bounty", "description": "d", "amount": 1.5}


def _rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def _set_aside(store: Store, route: str) -> int:
    state = store.documents.state(CHARACTER, route)
    assert state is not None
    return state.set_aside


def _each(route: str) -> ObjectOf:
    shape = ROUTES[route].shape
    assert isinstance(shape, ListOf)
    assert isinstance(shape.each, ObjectOf)
    return shape.each


def test_one_bad_entry_of_the_journal_costs_only_itself(store: Store, save: Callable[..., Changes]) -> None:
    assert save(JOURNAL, [_entry(1), _entry(2), BAD, _entry(3)]) == Changes(seen=3, new=3, set_aside=1)
    assert _rows(store, "SELECT id FROM wallet_journal ORDER BY id") == [(1,), (2,), (3,)]
    assert store.documents.body(CHARACTER, JOURNAL) == [_entry(1), _entry(2), _entry(3)]
    assert _rows(store, "SELECT character_id, route, reason, row_json FROM set_aside_rows") == [
        (CHARACTER, JOURNAL, "date is missing", '{"description":"d","id":5,"ref_type":"x"}')
    ]
    assert _set_aside(store, JOURNAL) == 1


@pytest.mark.parametrize("route", TABLES)
def test_every_kind_of_bad_row_of_every_route_is_set_aside(
    store: Store, save: Callable[..., Changes], route: str
) -> None:
    bad = list(bad_rows(_each(route), 1_000))
    good = [row_of(_each(route), number) for number in range(len(bad))]
    body = [row for pair in zip(bad, good, strict=True) for row in pair]
    changes = save(route, body)
    assert (changes.new, changes.set_aside, changes.repaired) == (len(good), len(bad), 0)
    assert _rows(store, f"SELECT count(*) FROM {TABLES[route]}") == [(len(good),)]
    found = _rows(store, "SELECT reason, row_json FROM set_aside_rows")
    assert len(found) == len({exact_json.dumps(row, sort_keys=True, allow_nan=True) for row in bad})
    assert all(reason and text.isascii() and len(text) <= MAX_CHARACTERS for reason, text in found)
    (stored,) = _rows(store, "SELECT body_json FROM documents")
    # Not with our parser, which accepts NaN.
    text = zlib.decompress(stored[0]) if stored[0].startswith(b"x") else stored[0]
    assert json.loads(text, parse_float=Decimal, parse_constant=pytest.fail) == good


@pytest.mark.parametrize("route", TABLES)
def test_strange_texts_are_stored_repaired_and_kept_as_they_came(
    store: Store, save: Callable[..., Changes], route: str
) -> None:
    rows = list(strange_rows(_each(route), 1_000))
    changes = save(route, rows)
    assert (changes.new, changes.set_aside, changes.repaired) == (len(rows), 0, len(rows))
    assert _set_aside(store, route) == 0
    found = _rows(store, "SELECT reason, row_json FROM set_aside_rows ORDER BY entry_id")
    assert [json.loads(text) for _, text in found] == rows
    assert all(reason.startswith("stored with U+FFFD instead: ") for reason, _ in found)
    with store.database.read() as connection:
        table = sa.Table(TABLES[route], sa.MetaData(), autoload_with=connection)
        texts = " ".join(str(row) for row in connection.execute(sa.select(table)))
    assert texts.count("\N{REPLACEMENT CHARACTER}") >= len(rows)
    texts.encode()
    assert "\0" not in texts


def test_integers_at_the_limits_and_large_amounts_are_stored(store: Store, save: Callable[..., Changes]) -> None:
    large = {"amount": Decimal("92233720368547756.99"), "balance": 3}
    limits = [_entry(2**63 - 1) | {"context_id": -(2**63)}, _entry(1) | large]
    assert save(JOURNAL, limits) == Changes(seen=2, new=2)
    columns = [wallet_journal.c[name] for name in ("id", "context_id", "amount", "balance")]
    with store.database.read() as connection:
        stored = connection.execute(sa.select(*columns).order_by(wallet_journal.c.id)).all()
    assert stored == [
        (1, None, Decimal("92233720368547756.99"), Decimal(3)),
        (2**63 - 1, -(2**63), Decimal("1.5"), None),
    ]


def test_a_row_that_comes_again_gets_a_new_time_and_one_that_is_gone_does_not_count(
    store: Store, save: Callable[..., Changes], clock: ManualClock
) -> None:
    first_ms = clock.now_ms()
    save(JOURNAL, [_entry(1), BAD, BAD])
    assert _set_aside(store, JOURNAL) == 2
    clock.advance(seconds=60)
    save(JOURNAL, [_entry(1), BAD], as_of_ms=2_000)
    times = sa.select(set_aside_rows.c.first_seen_ms, set_aside_rows.c.last_seen_ms)
    with store.database.read() as connection:
        assert connection.execute(times).all() == [(first_ms, first_ms + 60_000)]
    assert _set_aside(store, JOURNAL) == 1
    clock.advance(seconds=60)
    # An older response says nothing about the current document.
    save(JOURNAL, [_entry(1)], as_of_ms=1_500)
    assert _set_aside(store, JOURNAL) == 1
    save(JOURNAL, [_entry(1), _entry(5)], as_of_ms=3_000)
    assert _set_aside(store, JOURNAL) == 0
    assert len(_rows(store, "SELECT * FROM set_aside_rows")) == 1


def test_a_not_modified_response_keeps_the_count(store: Store, save: Callable[..., Changes]) -> None:
    save(JOURNAL, [_entry(1), BAD])
    response = EsiResponse(304, True, None, None, None, 0, 1, None)
    assert store.documents.renew(CHARACTER, JOURNAL, response, as_of_ms=HOUR_MS + 2_000, next_due_ms=0) == Changes()
    assert _set_aside(store, JOURNAL) == 1


def test_the_same_row_of_two_characters_is_two_entries(
    store: Store, save: Callable[..., Changes], save_login: Callable[..., None]
) -> None:
    save_login(2)
    for character_id in (CHARACTER, 2):
        save(JOURNAL, [_entry(1), BAD], character_id=character_id)
    assert len(_rows(store, "SELECT * FROM set_aside_rows")) == 2
    save(TRANSACTIONS, [])
    assert set_aside_now(store.database) == [SetAsideRows(JOURNAL, 2, 2), SetAsideRows(TRANSACTIONS, 0, 0)]
    store.logins.require_login(2, 1, reason="dead")
    assert set_aside_now(store.database)[0] == SetAsideRows(JOURNAL, 1, 1)


def _order(order_id: int) -> Any:
    return row_of(_each(ORDERS), order_id)


def _states(store: Store) -> list[tuple[Any, ...]]:
    return _rows(store, "SELECT order_id, state FROM market_orders ORDER BY order_id")


def test_nothing_is_inferred_from_open_orders_with_a_row_set_aside(store: Store, save: Callable[..., Changes]) -> None:
    save(ORDERS, [_order(1), _order(2)], 1_000)
    save(ORDERS, [_order(1), _order(2) | {"price": None}], 2_000)
    save(ORDERS_HISTORY, [], 3_000)
    assert _states(store) == [(1, "open"), (2, "open")]
    # Complete again, and still without it.
    save(ORDERS, [_order(1)], 4_000)
    save(ORDERS_HISTORY, [], 5_000)
    assert _states(store) == [(1, "open"), (2, "filled")]


def test_nothing_is_inferred_from_an_order_history_with_a_row_set_aside(
    store: Store, save: Callable[..., Changes]
) -> None:
    closed = row_of(_each(ORDERS_HISTORY), 9) | {"state": "expired"}
    save(ORDERS, [_order(1)], 1_000)
    save(ORDERS, [], 2_000)
    save(ORDERS_HISTORY, [closed, _order(1) | {"state": "cancelled", "volume_remain": "many"}], 3_000)
    assert _states(store) == [(1, "open"), (9, "expired")]
    # Nor if ESI confirms that history.
    response = EsiResponse(304, True, None, None, None, 0, 1, None)
    store.documents.renew(CHARACTER, ORDERS_HISTORY, response, as_of_ms=HOUR_MS + 4_000, next_due_ms=0)
    assert _states(store) == [(1, "open"), (9, "expired")]
    save(ORDERS_HISTORY, [closed, _order(1) | {"state": "cancelled"}], 5_000)
    assert _states(store) == [(1, "cancelled"), (9, "expired")]


def test_a_repaired_row_does_not_make_a_list_incomplete(store: Store, save: Callable[..., Changes]) -> None:
    save(ORDERS, [_order(1), _order(2)], 1_000)
    save(ORDERS, [_order(1) | {"a_new_text": "\0"}], 2_000)
    save(ORDERS_HISTORY, [], 3_000)
    assert _states(store) == [(1, "open"), (2, "filled")]
