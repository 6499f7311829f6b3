"""Sessions and revoked tokens on both kinds of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from nomad_actors.clock import ManualClock
from nomad_actors.errors import NomadError
from nomad_actors.store import AdminSession, LinkUsed, Store
from nomad_actors.testing import wait_until

DIGEST = "0" * 64
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def session(id_hash: str) -> AdminSession:
    return AdminSession(id_hash=id_hash, token_name="ada", token_digest=DIGEST, role="viewer", expires_ms=2**50)


def test_a_used_link_is_our_error_and_a_duplicate_id_is_not_a_used_link(store: Store) -> None:
    sessions = store.admin_sessions
    sessions.begin(session("a"), link="x")
    with pytest.raises(LinkUsed, match="already been used") as raised:
        sessions.begin(session("b"), link="x")
    assert isinstance(raised.value, NomadError)
    with pytest.raises(IntegrityError):
        sessions.begin(session("a"))


def test_a_token_is_revoked_once(store: Store) -> None:
    assert [store.admin_sessions.revoke(DIGEST, "ada", "otto") for _ in range(2)] == [True, False]


def test_a_token_that_two_revoke_at_the_same_time_is_revoked_by_one(postgres_url: str, clock: ManualClock) -> None:
    store = Store(postgres_url, cipher=None, clock=clock)
    other = sa.create_engine(store.database.url)
    values = {"digest": "1" * 64, "name": "ada", "revoked_ms": 1, "by": "otto"}
    store.migrate()
    with ThreadPoolExecutor(1) as pool:
        with other.begin() as connection, other.connect() as watching:
            connection.execute(sa.text("DELETE FROM admin_revoked_tokens"))
            columns = "INSERT INTO admin_revoked_tokens VALUES (:digest, :name, :revoked_ms, :by)"
            connection.execute(sa.text(columns), values)
            revoked = pool.submit(store.admin_sessions.revoke, "1" * 64, "ada", "bo")
            wait_until(lambda: watching.scalar(sa.text(WAITING)) > 0)
        assert revoked.result(10) is False
    other.dispose()
    store.close()
