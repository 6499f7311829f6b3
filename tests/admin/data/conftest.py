"""An admin with collected data, served over real HTTP on a SQLite file and on PostgreSQL."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from admin import create_app, serve
from chaos.conforming import Conforming
from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.http_server import HttpServer, listen
from nomad_actors.settings import Settings
from nomad_actors.settings.admin_tokens import token_entry
from nomad_actors.store import Store, history
from nomad_actors.store.schema import wallet_journal
from nomad_actors.testing import LocalRedis
from tests.admin.conftest import AdminApp, make_app
from tests.support.databases import put_database
from tests.support.postgres import Postgres

#: 2026-11-01T00:00:00Z
START_MS = 1_793_491_200_000
MINUTE_MS = 60_000
#: Of the users 7 and 8.
ADA, BO = 90000001, 90000002
TOKENS = {role: f"{role}-".ljust(43, "0") for role in ("viewer", "operator", "reader", "bound")}
ENTRIES = (
    *(token_entry(role, role, TOKENS[role]) for role in ("viewer", "operator", "reader")),
    token_entry("bound", "reader", TOKENS["bound"], [7, 9]),
)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database for all of these tests; each test runs on both kinds."""
    if request.param == "sqlite":
        return put_database(tmp_path_factory.mktemp("data") / "nomad.db")
    postgres: Postgres = request.getfixturevalue("postgres")
    # One of its own: other tests empty the usual one.
    return postgres.new_database("data")


@pytest.fixture(scope="session")
def app(
    nomad_redis_server: LocalRedis, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> Iterator[AdminApp]:
    """An application with a token of each kind, and the characters Ada (user 7), who has data, and Bo (user 8)."""
    settings, clock = Settings(admin_tokens=ENTRIES), ManualClock(START_MS)
    app = make_app(nomad_redis_server.url, tmp_path_factory.mktemp("admin"), settings, clock, database_url=database_url)
    log_in(app.store, ADA, 7)
    log_in(app.store, BO, 8)
    collect_everything(app.store)
    yield app
    app.close()


_ids = itertools.count(91000001)


@pytest.fixture
def character(app: AdminApp) -> int:
    """A new character of user 7, without data."""
    character_id = next(_ids)
    log_in(app.store, character_id, 7)
    return character_id


@dataclass(frozen=True)
class Admin:
    """A served admin."""

    url: str

    def get(self, path: str, token: str | None = "reader", **headers: str) -> requests.Response:
        """Request a path below /data/characters/, or an absolute one; `token` names one of `TOKENS`."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {TOKENS.get(token, token)}"
        path = path if path.startswith("/") else f"/data/characters/{path}"
        return requests.get(self.url + path, headers=sent, timeout=20, allow_redirects=False)

    def rows(self, path: str, token: str = "reader") -> dict[str, Any]:
        response = self.get(path, token)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found


@pytest.fixture(scope="session")
def _served(app: AdminApp) -> Iterator[tuple[Admin, Conforming]]:
    web = create_app(app)
    conforming = Conforming(web, app.queues)
    listener = listen("127.0.0.1", 0)
    server = HttpServer(web, listener, serve.LIMITS, name="test")
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Admin(f"http://127.0.0.1:{listener.getsockname()[1]}"), conforming
    server.stop(5)
    thread.join(10)


@pytest.fixture
def admin(_served: tuple[Admin, Conforming]) -> Iterator[Admin]:
    """The application's admin; a response that its OpenAPI document does not declare fails the test."""
    served, conforming = _served
    yield served
    broken, conforming.broken = conforming.broken, []
    assert not broken, "\n".join(broken)


def log_in(store: Store, character_id: int, user_id: int, owner_hash: str = "owner") -> None:
    store.logins.save(
        character_id=character_id,
        user_id=user_id,
        name=f"Player {user_id}",
        owner_hash=owner_hash,
        scopes=["esi-wallet.read_character_wallet.v1"],
        refresh_token=f"refresh token {user_id} {owner_hash}",
    )


def collect(store: Store, route: str, body: Any, *, character_id: int = ADA, as_of_ms: int = START_MS) -> None:
    """Save what ESI answered."""
    response = EsiResponse(200, False, body, f'"{as_of_ms}"', "then", as_of_ms + 60 * MINUTE_MS, 1, "request-1")
    store.documents.save(character_id, route, response, as_of_ms=as_of_ms, next_due_ms=0)


def entry(number: int, minute: int | None = None, **changed: Any) -> dict[str, Any]:
    """Return a journal entry of that minute of 2026-11-01."""
    minute = number if minute is None else minute
    return {
        "id": number,
        "date": f"2026-11-01T{minute // 60:02}:{minute % 60:02}:00Z",
        "ref_type": "bounty_prizes",
        "description": f"entry {number}",
        "amount": Decimal("0.01"),
        "balance": Decimal("90000000000000.01"),
        **changed,
    }


def order(order_id: int, **changed: Any) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "duration": 90,
        "is_corporation": False,
        "issued": "2026-10-30T00:00:00Z",
        "location_id": 60003760,
        "price": Decimal("10.5"),
        "range": "region",
        "region_id": 10000002,
        "type_id": 34,
        "volume_remain": 100,
        "volume_total": 100,
        **changed,
    }


def transaction(transaction_id: int, **changed: Any) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "date": "2026-10-30T00:00:00Z",
        "client_id": 1,
        "is_buy": True,
        "is_personal": True,
        "journal_ref_id": 5,
        "location_id": 60003760,
        "quantity": 2**40,
        "type_id": 34,
        "unit_price": Decimal("5.25"),
        **changed,
    }


def industry_job(job_id: int, **changed: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "activity_id": 1,
        "blueprint_id": 2,
        "blueprint_location_id": 3,
        "blueprint_type_id": 4,
        "duration": 3600,
        "end_date": "2026-10-30T01:00:00Z",
        "facility_id": 5,
        "installer_id": ADA,
        "output_location_id": 6,
        "runs": 1,
        "start_date": "2026-10-30T00:00:00Z",
        "station_id": 7,
        "status": "delivered",
        "cost": Decimal("118.01"),
        "probability": Decimal("0.5"),
        **changed,
    }


SKILLS = {
    "skills": [
        {"skill_id": 3300, "active_skill_level": 3, "skillpoints_in_skill": 8000, "trained_skill_level": 3},
        {"skill_id": 3301, "active_skill_level": 1, "skillpoints_in_skill": 250, "trained_skill_level": 1},
    ],
    "total_sp": 8250,
    "unallocated_sp": 0,
}


def collect_everything(store: Store, character_id: int = ADA) -> None:
    """Save an answer of each route that becomes rows, and changes of two of them."""
    save = partial(collect, store, character_id=character_id)
    save(history.JOURNAL, [entry(number) for number in range(1, 6)])
    save(history.TRANSACTIONS, [transaction(1), transaction(2, type_id=35, is_buy=False)])
    save(history.ORDERS, [order(1), order(2)])
    later_ms = START_MS + 60 * MINUTE_MS
    save(history.ORDERS, [order(1, volume_remain=60), order(2)], as_of_ms=later_ms)
    save(history.INDUSTRY_JOBS, [industry_job(1), industry_job(2, status="active")])
    save(history.SKILLS, SKILLS)
    trained = [{**SKILLS["skills"][0], "skillpoints_in_skill": 8100}, SKILLS["skills"][1]]  # type: ignore[index]
    save(history.SKILLS, {**SKILLS, "skills": trained, "total_sp": 8350}, as_of_ms=later_ms)


def add_entries(store: Store, count: int, *, character_id: int = ADA) -> None:
    """Add journal entries in bulk."""
    found = [
        {
            "character_id": character_id,
            "id": number,
            "date_ms": START_MS - number * 1_000,
            "ref_type": "bounty_prizes",
            "description": "a text, as long as those of ESI are: who paid whom, and for what",
            "amount": Decimal("1234567.89"),
            "balance": Decimal("98765432109876.54"),
            "first_party_id": 98000001,
            "second_party_id": ADA,
        }
        for number in range(count)
    ]
    with store.database.write() as connection:
        connection.execute(sa.insert(wallet_journal), found)
