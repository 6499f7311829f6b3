"""A database with the history of one character, as ESI's responses made it, for readers of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.data import Data
from nomad_actors.exact_json import loads
from nomad_actors.store import Snapshot, Store, TokenCipher, history
from nomad_actors.store.database import Database
from nomad_actors.store.schema import (
    REVISION,
    history_corrections,
    history_holes,
    market_orders,
    metadata,
    order_events,
)
from tests.support.databases import put_database
from tests.support.postgres import Postgres

#: The one of docs/data.md.
CHARACTER = 95465499
DAY_MS = 86_400_000
#: 2026-10-01T00:00:00Z
OCTOBER_MS = 1_790_812_800_000
#: 2026-11-01T00:00:00Z
NOW_MS = OCTOBER_MS + 31 * DAY_MS


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; each test runs on both kinds."""
    if request.param == "sqlite":
        return put_database(tmp_path / "nomad.db")
    postgres: Postgres = request.getfixturevalue("postgres")
    clear(postgres)
    return postgres.url


def clear(postgres: Postgres) -> None:
    """Leave a migrated database without rows, which is quicker than a migration for each test."""
    database = Database(postgres.url)
    if database.schema().found != REVISION:
        postgres.empty()
    with database.write() as connection:
        connection.execute(sa.text(f"TRUNCATE {', '.join(metadata.tables)}"))
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that shows 2026-11-01."""
    return ManualClock(NOW_MS)


@pytest.fixture
def store(database_url: str, clock: ManualClock) -> Iterator[Store]:
    """A store on a database with one character that has collected nothing."""
    store = Store(database_url, cipher=TokenCipher(["a key for tests"]), clock=clock)
    store.logins.save(
        character_id=CHARACTER, user_id=7, name="Ada Voss", owner_hash="owner", scopes=[], refresh_token="a token"
    )
    yield store
    store.close()


@pytest.fixture
def data(store: Store, clock: ManualClock) -> Data:
    """A reader of the store."""
    return Data(store, clock)


@pytest.fixture
def absorb(store: Store) -> Callable[..., None]:
    """`absorb(route, body, as_of_ms)`: store what a response of ESI shows; fractions as JSON text or Decimal."""

    def save(route: str, body: Any, as_of_ms: int = OCTOBER_MS) -> None:
        with store.database.write() as connection:
            history.absorb(connection, Snapshot(CHARACTER, route, body, as_of_ms, "a request id"))

    return save


def entry(entry_id: int, day: float, amount: str, balance: str, ref_type: str = "bounty_prizes", **more: Any) -> Any:
    """Return a journal entry `day` days after the beginning of October."""
    amounts = {"amount": loads(amount), "balance": loads(balance)}
    return {"id": entry_id, "date": iso(day), "ref_type": ref_type, "description": "d", **amounts, **more}


def iso(day: float) -> str:
    """Return the time `day` days after the beginning of October, as ESI writes it."""
    seconds = round(day * 86_400)
    return f"2026-10-{1 + seconds // 86_400:02}T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def transaction(number: int, day: float, quantity: int, price: str, *, is_buy: bool, type_id: int = 34) -> Any:
    given = {"transaction_id": number, "date": iso(day), "quantity": quantity, "unit_price": loads(price)}
    kind = {"is_buy": is_buy, "is_personal": True, "type_id": type_id}
    return given | kind | {"client_id": 9, "journal_ref_id": number, "location_id": 60003760}


def order(order_id: int, day: float, price: str, remain: int, **more: Any) -> Any:
    given = {"order_id": order_id, "issued": iso(day), "price": loads(price), "volume_remain": remain}
    place = {"location_id": 60003760, "region_id": 10000002, "range": "region"}
    return given | place | {"duration": 90, "is_corporation": False, "type_id": 34, "volume_total": 100} | more


def industry_job(job_id: int, day: float, status: str, **more: Any) -> Any:
    ids = ("blueprint_id", "blueprint_location_id", "facility_id", "output_location_id", "station_id")
    times = {"start_date": iso(day), "end_date": iso(day + 1), "duration": 86_400}
    given = {"job_id": job_id, "status": status, "activity_id": 1, "blueprint_type_id": 5, "installer_id": CHARACTER}
    return dict.fromkeys(ids, 1) | times | given | {"runs": 10, "cost": loads("12.50"), "product_type_id": 587} | more


def skills(total: int, **levels: tuple[int, int]) -> Any:
    """Return `/skills`; `s3300=(4, 45255)` is the skill 3300 at level 4."""
    rows = [
        {
            "skill_id": int(name[1:]),
            "active_skill_level": level,
            "trained_skill_level": level,
            "skillpoints_in_skill": points,
        }
        for name, (level, points) in levels.items()
    ]
    return {"skills": rows, "total_sp": total, "unallocated_sp": 0}


@pytest.fixture
def october(store: Store, absorb: Callable[..., None]) -> None:
    """A month of everything."""
    absorb(
        history.JOURNAL,
        [
            entry(1, 1.5, "100.25", "100.25", first_party_id=500, second_party_id=CHARACTER),
            entry(2, 1.75, "50", "150.25", first_party_id=500, second_party_id=CHARACTER),
            entry(3, 4, "-20.5", "129.75", "market_escrow", first_party_id=CHARACTER, second_party_id=501),
            entry(4, 20, "70000000000000.07", "70000000000129.82", "player_donation", first_party_id=502),
        ],
    )
    buys = [transaction(11, 2, 10, "5.00", is_buy=True), transaction(12, 3, 10, "7.00", is_buy=True)]
    absorb(history.TRANSACTIONS, [*buys, transaction(13, 5, 4, "10.50", is_buy=False)])
    open_orders = [order(21, 2, "10.50", 40), order(22, 3, "2", 100, is_buy_order=True, escrow=loads("200.00"))]
    absorb(history.ORDERS, [*open_orders, order(23, 4, "9.99", 50)], OCTOBER_MS + 5 * DAY_MS)
    jobs = [industry_job(31, 2, "active"), industry_job(32, 9, "active")]
    absorb(history.INDUSTRY_JOBS, jobs, OCTOBER_MS + 2 * DAY_MS)
    absorb(history.INDUSTRY_JOBS, [industry_job(31, 2, "delivered")], OCTOBER_MS + 4 * DAY_MS)
    absorb(history.SKILLS, skills(45_255, s3300=(4, 45_255)), OCTOBER_MS + DAY_MS)
    absorb(history.SKILLS, skills(256_000, s3300=(5, 256_000)), OCTOBER_MS + 2 * DAY_MS)
    fill(store, 23, OCTOBER_MS + 6 * DAY_MS)
    hole = {"data_type": "wallet_journal", "from_ms": OCTOBER_MS, "until_ms": OCTOBER_MS + DAY_MS}
    hole |= {"cause": "retention", "details": "from 5 to 9", "found_ms": NOW_MS}
    correction = {"data_type": "wallet_journal", "row_id": 1, "field": "amount", "old_value": "1", "new_value": "2"}
    correction |= {"corrected_ms": OCTOBER_MS + DAY_MS, "route": history.JOURNAL}
    with store.database.write() as connection:
        connection.execute(sa.insert(history_holes).values(character_id=CHARACTER, **hole))
        connection.execute(sa.insert(history_corrections).values(character_id=CHARACTER, **correction))


def fill(store: Store, order_id: int, at_ms: int) -> None:
    """Store that an order is known to be filled."""
    event = {"character_id": CHARACTER, "order_id": order_id, "at_ms": at_ms, "kind": "filled", "inferred": True}
    changes = {"volume_remain": [50, 0]}
    same = market_orders.c.order_id == order_id
    with store.database.write() as connection:
        connection.execute(sa.update(market_orders).where(same).values(state="filled", inferred=True, volume_remain=0))
        connection.execute(sa.insert(order_events).values(**event, changes=changes, route=history.ORDERS_HISTORY))
