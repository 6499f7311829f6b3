"""What was kept for an owner stays with that owner when the character is sold, and can be deleted whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.store import NewLogin, Store, ownership, schema

CHARACTER = 90000001
OTHER = 90000002
_NUMBERS = itertools.count(1)


def fill(store: Store, character_id: int) -> None:
    """Put a row of this character into every table that has its rows, but not into `logins`."""
    with store.database.write() as connection:
        for table in ownership.TABLES:
            if table is not schema.logins:
                values = {column.name: _value(column) for column in table.c if not column.nullable}
                connection.execute(sa.insert(table).values({**values, "character_id": character_id}))


def _value(column: sa.Column[Any]) -> Any:
    kind = column.type.python_type
    if kind is bytes:
        return b"{}"
    return next(_NUMBERS) if kind in (int, float, Decimal) else False if kind is bool else f"text {next(_NUMBERS)}"


def rows(store: Store, character_id: int) -> dict[str, int]:
    return ownership.count_rows(store.database, character_id)


def handed_over(store: Store, owner_hash: str, **changed: Any) -> ownership.Handover:
    login = {
        "character_id": CHARACTER,
        "user_id": 8,
        "name": "Ada Voss",
        "scopes": ["a scope"],
        "refresh_token": "a token",
    }
    return store.logins.save_all([NewLogin(owner_hash=owner_hash, **(login | changed))])[0]


def archived() -> dict[str, int]:
    moved = [table for table in ownership.TABLES if table not in ownership.NOT_ARCHIVED]
    return {table.name: 1 for table in (*moved, schema.characters)}


def test_every_table_with_a_characters_rows_is_moved_or_deleted_on_purpose() -> None:
    with_rows = {
        table.name
        for table in schema.metadata.sorted_tables
        if "character_id" in table.c and table.name != "characters"
    }
    assert {table.name for table in ownership.TABLES} == with_rows
    assert {table.name for table in ownership.NOT_ARCHIVED} == {"logins", "sync_state", "listing_pages"}


def test_a_new_owner_starts_afresh_and_the_history_stays_with_the_old_one(
    store: Store, save_login: Callable[..., None], clock: ManualClock
) -> None:
    save_login(CHARACTER)
    save_login(OTHER)
    fill(store, CHARACTER)
    fill(store, OTHER)
    everything = {**archived(), "sync_state": 1, "listing_pages": 1, "logins": 1}
    assert rows(store, CHARACTER) == everything
    created_ms = clock.now_ms()
    with store.database.write() as connection:
        connection.execute(sa.update(schema.characters).values(offline_since_ms=created_ms))
    clock.advance(seconds=60)
    assert handed_over(store, "the buyer") == ownership.Handover(archive_id=-1)
    assert rows(store, CHARACTER) == {"characters": 1, "logins": 1}
    assert rows(store, -1) == archived()
    assert rows(store, OTHER) == everything
    with store.database.read() as connection:
        old, new = connection.execute(
            sa.select(schema.characters)
            .where(schema.characters.c.character_id.in_([-1, CHARACTER]))
            .order_by(schema.characters.c.character_id)
        ).all()
    assert (old.user_id, old.owner_hash, old.state, old.sold_id) == (7, "owner", "sold", CHARACTER)
    assert (old.created_ms, new.created_ms) == (created_ms, clock.now_ms())
    assert (old.offline_since_ms, new.offline_since_ms) == (created_ms, None)
    assert (new.user_id, new.owner_hash, new.state, new.sold_id) == (8, "the buyer", "active", None)


def test_an_archive_is_no_login(store: Store, save_login: Callable[..., None], clock: ManualClock) -> None:
    save_login(CHARACTER)
    handed_over(store, "the buyer")
    assert store.logins.counts() == {"active": 1, "needs_login": 0}
    assert [each.character_id for each in store.logins.characters()] == [CHARACTER]
    assert [each.character_id for each in store.logins.all()] == [CHARACTER]
    assert (store.logins.character(-1), store.logins.get(-1)) == (None, None)
    assert store.logins.characters("sold") == []
    assert (
        store.documents.overdue(
            due_before_ms=clock.now_ms() + 10**9, asked_since_ms=0, queued_before_ms=clock.now_ms(), limit=10
        )
        == []
    )
    assert store.documents.oldest_synced_ms() == {}


def test_an_owner_who_buys_the_character_back_gets_the_own_history_and_no_other(
    store: Store, save_login: Callable[..., None]
) -> None:
    save_login(CHARACTER)
    fill(store, CHARACTER)
    handed_over(store, "the buyer")
    assert handed_over(store, "owner") == ownership.Handover(archive_id=-2, is_restored=True)
    assert rows(store, CHARACTER) == {**archived(), "logins": 1}
    assert rows(store, -1) == {}
    assert rows(store, -2) == {"characters": 1}
    assert handed_over(store, "the buyer") == ownership.Handover(archive_id=-3, is_restored=True)
    assert rows(store, CHARACTER) == {"characters": 1, "logins": 1}
    assert rows(store, -3) == archived()


def test_archives_of_several_characters_and_owners_do_not_mix(store: Store, save_login: Callable[..., None]) -> None:
    for character_id in (CHARACTER, OTHER):
        save_login(character_id)
        fill(store, character_id)
    assert handed_over(store, "the buyer").archive_id == -1
    assert handed_over(store, "the buyer", character_id=OTHER).archive_id == -2
    assert handed_over(store, "a third").archive_id == -3
    assert [rows(store, each).get("wallet_journal") for each in (-1, -2, -3)] == [1, 1, None]


@pytest.mark.parametrize(("stored", "now"), [("owner", "owner"), ("", "owner"), ("owner", "")])
def test_nothing_moves_for_the_same_or_an_unknown_owner(
    store: Store, save_login: Callable[..., None], stored: str, now: str
) -> None:
    save_login(CHARACTER, owner_hash=stored)
    fill(store, CHARACTER)
    before = rows(store, CHARACTER)
    assert handed_over(store, now) == ownership.Handover()
    assert rows(store, CHARACTER) == before
    # A claim that is left out once must not hide a later sale.
    assert handed_over(store, "the buyer").archive_id == -1


def test_a_late_refresh_of_the_old_owner_changes_nothing(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    handed_over(store, "the buyer")
    assert not store.logins.strike(CHARACTER, 1)
    assert not store.logins.require_login(CHARACTER, 1, reason="too late")


def test_all_rows_of_a_character_are_deleted_and_no_others(store: Store, save_login: Callable[..., None]) -> None:
    for character_id in (CHARACTER, OTHER):
        save_login(character_id)
        fill(store, character_id)
    counted, others = rows(store, CHARACTER), rows(store, OTHER)
    assert ownership.delete_rows(store.database, CHARACTER) == counted
    assert (rows(store, CHARACTER), rows(store, OTHER)) == ({}, others)
    assert ownership.delete_rows(store.database, CHARACTER) == {}


def test_a_deleted_character_that_logs_in_again_gets_back_what_was_archived_for_this_owner(
    store: Store, save_login: Callable[..., None]
) -> None:
    save_login(CHARACTER)
    fill(store, CHARACTER)
    handed_over(store, "the buyer")
    ownership.delete_rows(store.database, CHARACTER)
    assert handed_over(store, "owner") == ownership.Handover(is_restored=True)
    assert rows(store, CHARACTER) == {**archived(), "logins": 1}


def test_refusals_are_cleared_for_all_routes_or_for_one(store: Store, save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)
    for route in ("/a", "/b"):
        store.documents.save_failure(CHARACTER, route, error="403", refused_until_ms=store.logins._clock.now_ms() + 9)
    assert store.logins.clear_refusals(CHARACTER, "/a") == 1
    assert store.logins.clear_refusals(CHARACTER, "/a") == 0
    state = store.documents.state(CHARACTER, "/b")
    assert state is not None
    assert state.refusals == 1
    assert store.logins.clear_refusals(CHARACTER) == 1
