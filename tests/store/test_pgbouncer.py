"""Behind PgBouncer in transaction mode each transaction may use another connection of the server, and waits for one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.errors import Unavailable
from nomad_actors.esi import EsiResponse
from nomad_actors.store import AdminSession, AuditedRequest, LoginChanged, Store, TokenCipher
from nomad_actors.store.database import Database
from nomad_actors.store.history import JOURNAL
from nomad_actors.store.ownership import count_rows
from tests.support import pgbouncer
from tests.support.postgres import Postgres

CHARACTERS = range(1, 4 * pgbouncer.SERVER_CONNECTIONS + 1)
#: Enough for COPY.
ENTRIES = 150
MIGRATES = "import sys; from nomad_actors.store.database import Database; Database(sys.argv[1]).migrate()"


@pytest.fixture(scope="module")
def bouncer(postgres: Postgres) -> Iterator[str]:
    yield from pgbouncer.serve(postgres)


@pytest.fixture
def database_url(bouncer: str, postgres: Postgres) -> str:
    """The URL of an empty database behind PgBouncer."""
    postgres.empty()
    return bouncer


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(CHARACTERS)) as threads:
        return list(threads.map(work, CHARACTERS))


def response(body: Any, pages: int = 1) -> EsiResponse:
    return EsiResponse(200, False, body, '"a"', "then", 5_000, pages, "id")


def entries() -> list[dict[str, Any]]:
    row = {"date": "2026-10-01T12:00:00Z", "ref_type": "bounty_prizes", "description": "d", "amount": 1, "balance": 2}
    return [{"id": number, **row} for number in range(ENTRIES)]


def test_processes_migrate_through_it_together(database_url: str, postgres: Postgres) -> None:
    started = [subprocess.Popen([sys.executable, "-c", MIGRATES, database_url]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    database = Database(postgres.url)
    assert database.schema().is_current
    database.close()


def live(store: Store, character_id: int) -> None:
    """Do what is done for a character, in transactions of all kinds."""
    logins, documents = store.logins, store.documents
    save = {"user_id": 1, "name": "Ada", "scopes": ["a"], "refresh_token": "first"}
    for _ in range(8):
        # Often enough for the driver to prepare its statements on the server, if it did.
        logins.save(character_id=character_id, owner_hash="first", **save)
    login = logins.get(character_id)
    assert login is not None
    logins.save_refreshed(
        character_id, login.version, refresh_token="b", access_token="c", expires_at_ms=9, scopes=["a"]
    )
    documents.save_requested(character_id, JOURNAL)
    changes = documents.save(
        character_id, JOURNAL, response(entries()), as_of_ms=1_000, next_due_ms=1, owner_hash="first"
    )
    assert changes.new == ENTRIES
    documents.renew(character_id, JOURNAL, response(None), as_of_ms=2_000, next_due_ms=2, owner_hash="first")
    assert documents.body(character_id, JOURNAL) == entries()
    listing = store.listing_pages.of(character_id, JOURNAL, may_be_held=True)
    assert [listing.add(number, response([number], 3)) is not None for number in (1, 2)] == [True, True]
    logins.save(character_id=character_id, owner_hash="second", **save)
    logins.save(character_id=character_id, owner_hash="first", **save)
    session = AdminSession(
        id_hash=str(character_id), token_name="ada", token_digest="0" * 64, role="viewer", expires_ms=2**50
    )
    store.admin_sessions.begin(session, link=str(character_id))
    asked = AuditedRequest(
        request_id="r", actor="a", role="operator", peer="p", source="s", method="POST", path="/", body=None
    )
    store.audit.outcome(store.audit.asked(asked), 200, None)


def test_more_threads_than_connections_lose_nothing(store: Store) -> None:
    in_threads(lambda character_id: live(store, character_id))
    found = [count_rows(store.database, character_id) for character_id in CHARACTERS]
    assert {rows["wallet_journal"] for rows in found} == {ENTRIES}
    assert len(store.audit.read(100)[0]) == len(CHARACTERS)


def test_only_one_of_many_changes_a_login(store: Store, save_login: Callable[..., None]) -> None:
    save_login(1)

    def refresh(number: int) -> bool:
        tokens = {"refresh_token": str(number), "access_token": "a", "expires_at_ms": 9}
        try:
            store.logins.save_refreshed(1, 1, scopes=["a"], **tokens)
        except LoginChanged:
            return False
        return True

    assert in_threads(refresh).count(True) == 1


def test_the_time_limits_of_a_waiting_user_end_with_its_transaction(
    store: Store, database_url: str, clock: ManualClock
) -> None:
    patient = Store(database_url, cipher=TokenCipher(["a key for tests"]), clock=clock)
    hasty = Database(database_url, wait_ms=600)
    with pytest.raises(Unavailable, match="statement timeout"), hasty.read() as connection:
        connection.execute(sa.text("SELECT pg_sleep(20)"))

    def limit(_number: int) -> Any:
        with patient.database.read() as connection:
            return connection.scalar(sa.text("SELECT current_setting('statement_timeout') FROM pg_sleep(0.05)"))

    assert set(in_threads(limit)) == {"0"}
    hasty.close()
    patient.close()
