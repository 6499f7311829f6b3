"""Transactions about one character do not overtake or lock out each other, at whatever statement they meet."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from nomad_actors.clock import ManualClock
from nomad_actors.esi import EsiResponse
from nomad_actors.store import ONLINE, Store
from nomad_actors.store.history import JOURNAL, ORDERS, ORDERS_HISTORY
from nomad_actors.store.ownership import delete_rows
from nomad_actors.store.prune import Cutoffs, prune
from nomad_actors.store.schema import characters, history_coverage, market_orders, wallet_journal

CHARACTER = 90000001
ASSETS, ATTRIBUTES = "/characters/{character_id}/assets", "/characters/{character_id}/attributes"
DAY_MS = 86_400_000
#: How long the first transaction waits for the other, which ends before only if nothing keeps it from that.
MEETING_SECONDS = 0.7


@pytest.fixture(autouse=True)
def _logged_in(save_login: Callable[..., None]) -> None:
    save_login(CHARACTER)


@dataclass
class Meeting:
    """Runs two calls: the second one when the first has executed its first statement that contains a text."""

    store: Store

    def at(self, statement: str, first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
        """Return both results."""
        met = threading.Event()
        with ThreadPoolExecutor(2) as pool, self._paused(statement, met) as ended:
            one = pool.submit(self._named, first, "first", threading.Event())
            assert met.wait(20), f"{statement} was never executed"
            two = pool.submit(self._named, second, "second", ended)
            return [one.result(60), two.result(60)]

    def _named(self, call: Callable[[], Any], name: str, ended: threading.Event) -> Any:
        threading.current_thread().name = name
        try:
            return call()
        finally:
            ended.set()

    @contextlib.contextmanager
    def _paused(self, text: str, met: threading.Event) -> Iterator[threading.Event]:
        ended = threading.Event()

        def pause(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if threading.current_thread().name == "first" and text in statement and not met.is_set():
                met.set()
                ended.wait(MEETING_SECONDS)

        engine = self.store.database.engine
        sa.event.listen(engine, "after_cursor_execute", pause)
        yield ended
        sa.event.remove(engine, "after_cursor_execute", pause)


@pytest.fixture
def meeting(store: Store) -> Meeting:
    return Meeting(store)


@pytest.fixture
def respond(store: Store, clock: ManualClock) -> Callable[..., Any]:
    """`respond(route, body, as_of_ms=now, pages=1)`: save a response of the character's owner."""

    def save(route: str, body: Any, as_of_ms: int | None = None, pages: int = 1) -> Any:
        response = EsiResponse(200, False, body, '"a"', None, clock.now_ms(), pages, "request")
        as_of_ms = clock.now_ms() if as_of_ms is None else as_of_ms
        return store.documents.save(CHARACTER, route, response, as_of_ms=as_of_ms, next_due_ms=0, owner_hash="owner")

    return save


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _entry(number: int, at_ms: int) -> dict[str, Any]:
    return {"id": number, "date": _date(at_ms), "ref_type": "x", "description": "d"}


@pytest.mark.parametrize(
    ("route", "body", "pages"), [(ASSETS, [], 2), (ONLINE, {"online": False}, 1), (JOURNAL, [], 1)]
)
def test_two_routes_of_a_character_are_saved_at_the_same_time(
    route: str, body: Any, pages: int, meeting: Meeting, respond: Any
) -> None:
    both = lambda: respond(JOURNAL, [], pages=2), lambda: respond(route, body, pages=pages)
    meeting.at("SELECT characters", *both)
    meeting.at("SELECT characters", *reversed(both))


def test_a_character_is_removed_while_its_data_is_saved(meeting: Meeting, respond: Any, store: Store) -> None:
    respond(ATTRIBUTES, {})
    meeting.at("SELECT characters", lambda: respond(ATTRIBUTES, {}), lambda: delete_rows(store.database, CHARACTER))
    with store.database.read() as connection:
        assert connection.execute(sa.select(characters)).all() == []


def test_a_response_does_not_claim_again_what_was_pruned_meanwhile(
    meeting: Meeting, respond: Any, store: Store, clock: ManualClock
) -> None:
    for number in range(6):
        respond(JOURNAL, [_entry(number, clock.now_ms() - 5 * DAY_MS)])
        clock.advance(seconds=25 * 86_400)
    limit_ms = clock.now_ms() - 100 * DAY_MS
    _, deleted = meeting.at(
        "history_coverage",
        lambda: respond(JOURNAL, [_entry(9, clock.now_ms() - DAY_MS)]),
        lambda: prune(store.database, Cutoffs(None, limit_ms)),
    )
    assert deleted > 0
    with store.database.read() as connection:
        assert connection.execute(sa.select(history_coverage.c.complete_since_ms)).scalar_one() == limit_ms
        assert connection.execute(sa.select(sa.func.min(wallet_journal.c.date_ms))).scalar_one() >= limit_ms


def test_an_older_list_of_open_orders_does_not_reopen_an_order_that_was_cancelled_meanwhile(
    meeting: Meeting, respond: Any, store: Store, clock: ManualClock
) -> None:
    order = {
        "order_id": 7,
        "issued": _date(clock.now_ms() - DAY_MS),
        "duration": 90,
        "is_corporation": False,
        "location_id": 1,
        "region_id": 1,
        "type_id": 1,
        "price": 1,
        "range": "station",
        "volume_remain": 5,
        "volume_total": 5,
    }
    respond(ORDERS, [order])
    respond(ORDERS_HISTORY, [])
    clock.advance(seconds=1_200)
    meeting.at(
        "market_orders.",
        lambda: respond(ORDERS, [order], as_of_ms=clock.now_ms() - 600_000),
        lambda: respond(ORDERS_HISTORY, [order | {"state": "cancelled"}]),
    )
    with store.database.read() as connection:
        found = connection.execute(sa.select(market_orders.c.state, market_orders.c.inferred)).one()
    assert tuple(found) == ("cancelled", False)


def test_a_not_modified_of_a_route_without_history_waits_for_no_other(
    meeting: Meeting, respond: Any, store: Store, clock: ManualClock, database_url: str
) -> None:
    respond(ATTRIBUTES, {})
    respond(ONLINE, {"online": True})
    ends: list[str] = []

    def renew(route: str) -> None:
        response = EsiResponse(304, True, None, None, None, clock.now_ms(), 1, "request")
        store.documents.renew(CHARACTER, route, response, as_of_ms=clock.now_ms(), next_due_ms=0, owner_hash="owner")
        ends.append(route)

    meeting.at("SELECT characters", lambda: renew(ATTRIBUTES), lambda: renew(ONLINE))
    expected = [ATTRIBUTES, ONLINE] if database_url.startswith("sqlite") else [ONLINE, ATTRIBUTES]
    assert ends == expected
