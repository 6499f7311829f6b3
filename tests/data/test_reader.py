"""Reading from Python: typed rows, exact amounts, ranges and cursors, on both databases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from nomad_actors.clock import ManualClock
from nomad_actors.data import Data, Skill
from nomad_actors.errors import BadInput, UnknownCharacter
from nomad_actors.esi import EsiResponse
from nomad_actors.store import Store, history

from .conftest import CHARACTER, DAY_MS, NOW_MS, OCTOBER_MS, entry, iso, order, skills, transaction

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
QUEUE = "/characters/{character_id}/skillqueue"


def response(body: Any, *, fresh_until_ms: int = NOW_MS) -> EsiResponse:
    return EsiResponse(
        status=200,
        not_modified=False,
        body=body,
        etag='"an etag"',
        last_modified=None,
        fresh_until_ms=fresh_until_ms,
        pages=1,
        request_id="a request id",
    )


@pytest.fixture
def hundred(absorb: Callable[..., None]) -> None:
    """A hundred journal entries, four at each time; their ids do not grow with their dates."""
    absorb(history.JOURNAL, [entry(1000 - number, number // 4 / 8, "1", str(number)) for number in range(100)])


@pytest.mark.usefixtures("october")
def test_rows_have_aware_times_exact_amounts_and_integers(data: Data) -> None:
    first, *_, last = data.journal(CHARACTER)
    assert (first.id, first.date, first.ref_type) == (1, OCTOBER + timedelta(days=1.5), "bounty_prizes")
    assert (first.amount, first.first_party_id, first.reason) == (Decimal("100.25"), 500, None)
    assert (last.amount, last.balance) == (Decimal("70000000000000.07"), Decimal("70000000000129.82"))
    sale = list(data.transactions(CHARACTER))[-1]
    assert (sale.quantity, sale.unit_price, sale.is_buy) == (4, Decimal("10.50"), False)
    assert sale.date.tzinfo is UTC


@pytest.mark.usefixtures("october")
def test_each_kind_of_row_is_read(data: Data) -> None:
    assert [(o.order_id, o.state, o.inferred) for o in data.orders(CHARACTER)] == [
        (21, "open", False),
        (22, "open", False),
        (23, "filled", True),
    ]
    assert [o.order_id for o in data.orders(CHARACTER, states=["filled", "expired"])] == [23]
    filled = list(data.order_events(CHARACTER, order_id=23))[-1]
    assert (filled.kind, filled.inferred, filled.changes) == ("filled", True, {"volume_remain": [50, 0]})
    assert (filled.at, filled.route) == (OCTOBER + timedelta(days=6), history.ORDERS_HISTORY)
    delivered = list(data.industry_jobs(CHARACTER, statuses=["delivered"]))
    assert [(j.job_id, j.cost, j.end_date) for j in delivered] == [(31, Decimal("12.50"), OCTOBER + timedelta(days=3))]
    events = [(e.old_status, e.new_status) for e in data.industry_job_events(CHARACTER, job_id=31)]
    assert events == [(None, "active"), ("active", "delivered")]
    assert [(e.skill_id, e.skillpoints_delta, e.level_delta) for e in data.skill_history(CHARACTER)] == [
        (3300, 256_000 - 45_255, 1)
    ]
    assert [(t.at, t.total_sp) for t in data.skill_totals(CHARACTER, from_="2026-10-03")] == [
        (OCTOBER + timedelta(days=2), 256_000)
    ]


@pytest.mark.parametrize(
    "begin",
    [
        date(2026, 10, 2),
        datetime(2026, 10, 2),
        datetime(2026, 10, 2, 2, tzinfo=timezone(timedelta(hours=2))),
        "2026-10-02",
        "2026-10-02T00:00:00Z",
        "2026-10-02T02:00:00+02:00",
    ],
)
@pytest.mark.usefixtures("hundred")
def test_a_range_includes_its_beginning_and_not_its_end(data: Data, begin: Any) -> None:
    assert [e.balance for e in data.journal(CHARACTER, from_=begin)] == list(range(35, 31, -1)) + [
        balance for at in range(36, 100, 4) for balance in range(at + 3, at - 1, -1)
    ]
    assert len(list(data.journal(CHARACTER, to=begin))) == 32
    assert list(data.journal(CHARACTER, begin, begin)) == []


@pytest.mark.usefixtures("hundred")
def test_limits_between_two_milliseconds_are_exact(data: Data) -> None:
    just_after = datetime(2026, 10, 2, 0, 0, 0, 1, tzinfo=UTC)
    assert len(list(data.journal(CHARACTER, to=just_after))) == 36
    assert len(list(data.journal(CHARACTER, from_=just_after))) == 64


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.usefixtures("hundred")
def test_cursors_go_through_rows_of_the_same_time_without_loss_or_repetition(data: Data, newest_first: bool) -> None:
    everything = list(data.journal(CHARACTER, newest_first=newest_first))
    assert everything == sorted(everything, key=lambda e: (e.date, e.id), reverse=newest_first)
    pages, after = [], None
    while page := list(data.journal(CHARACTER, after=after, limit=7, newest_first=newest_first)):
        pages += page
        after = page[-1].cursor
    assert (pages, len(pages)) == (everything, 100)


@pytest.mark.usefixtures("hundred")
def test_rows_stored_while_reading_are_neither_lost_nor_repeated(
    data: Data, absorb: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomad_actors.data.listings.PAGE_ROWS", 10)
    reading = data.journal(CHARACTER)
    found = [next(reading) for _ in range(15)]
    absorb(history.JOURNAL, [entry(5, 0, "1", "1"), entry(6, 25, "1", "1")])
    found += reading
    assert [e.id for e in found].count(6) == 1
    assert len({e.id for e in found}) == len(found) == 101


def test_a_page_leaves_no_transaction_open(data: Data, store: Store, absorb: Callable[..., None]) -> None:
    absorb(history.JOURNAL, [entry(number, 0, "1", "1") for number in range(5)])
    reading = data.journal(CHARACTER)
    next(reading)
    assert store.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.usefixtures("october")
def test_filters_take_what_no_row_can_have(data: Data) -> None:
    assert [e.id for e in data.journal(CHARACTER, ref_types=["market_escrow", "a\0b", "\ud800"])] == [3]
    assert [t.transaction_id for t in data.transactions(CHARACTER, type_ids=[34, 2**70], limit=1)] == [11]
    assert list(data.transactions(CHARACTER, type_ids=[2**63])) == []
    assert list(data.journal(CHARACTER, ref_types=[])) == []
    # A text is one value, not its letters.
    assert [o.order_id for o in data.orders(CHARACTER, states="filled")] == [23]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"from_": "soon"}, "from_ 'soon' is not a time"),
        ({"to": 5}, "to 5 is not a time"),
        ({"from_": "2026-10-02", "to": "2026-10-01"}, "from_ '2026-10-02' is after to '2026-10-01'"),
        ({"limit": -1}, "limit -1 is invalid"),
        ({"limit": "5"}, "limit '5' is invalid"),
        ({"after": "orders.1.2"}, "'orders.1.2' is not a cursor of journal"),
        ({"after": "journal.1.9223372036854775808"}, "is not a cursor of journal"),
        ({"after": "journal.1.٣"}, "is not a cursor of journal"),
        ({"after": 7}, "7 is not a cursor of journal"),
        ({"ref_types": [5]}, "ref_type 5 is invalid"),
    ],
)
def test_a_wrong_argument_is_refused_before_the_first_row(data: Data, arguments: Any, wrong: str) -> None:
    with pytest.raises(BadInput, match=wrong):
        data.journal(CHARACTER, **arguments)


@pytest.mark.parametrize("character_id", [1, -5, 2**70, "95465499", None])
def test_a_character_that_never_logged_in_is_an_error(data: Data, character_id: Any) -> None:
    for read in (data.journal, data.skills, data.completeness, data.balance_history, data.skill_totals):
        with pytest.raises(UnknownCharacter):
            read(character_id)
    with pytest.raises(UnknownCharacter):
        data.document(character_id, "/characters/{character_id}/wallet")


def test_a_document_has_its_body_and_times(data: Data, store: Store) -> None:
    route = "/characters/{character_id}/wallet"
    assert data.document(CHARACTER, route) is None
    store.documents.save(CHARACTER, route, response(Decimal("1.10")), as_of_ms=OCTOBER_MS, next_due_ms=NOW_MS)
    found = data.document(CHARACTER, f"/latest/characters/{CHARACTER}/wallet/")
    assert found is not None
    assert dataclasses.asdict(found) == {
        "body": Decimal("1.10"),
        "as_of": OCTOBER,
        "fresh_until": datetime(2026, 11, 1, tzinfo=UTC),
        "etag": '"an etag"',
        "route": route,
        "refresh": None,
    }
    with pytest.raises(BadInput, match=r"unknown endpoint '/characters/5/walet'; did you mean .*/wallet"):
        data.document(CHARACTER, "/characters/5/walet")


@pytest.mark.usefixtures("october")
def test_the_balance_after_each_entry_or_of_each_period(data: Data) -> None:
    changes = [(b.at, b.balance, b.entry_id) for b in data.balance_history(CHARACTER, to="2026-10-06")]
    assert changes == [
        (OCTOBER + timedelta(days=1.5), Decimal("100.25"), 1),
        (OCTOBER + timedelta(days=1.75), Decimal("150.25"), 2),
        (OCTOBER + timedelta(days=4), Decimal("129.75"), 3),
    ]
    days = [(b.at.day, b.balance, b.entry_id) for b in data.balance_history(CHARACTER, every=timedelta(days=1))]
    assert days[:4] == [
        (2, Decimal("150.25"), 2),
        (3, Decimal("150.25"), 2),
        (4, Decimal("150.25"), 2),
        (5, Decimal("129.75"), 3),
    ]
    # To the present, 2026-11-01T00:00, whose day has begun.
    assert [day for day, *_ in days] == [*range(2, 32), 1]


@pytest.mark.usefixtures("october")
def test_the_balance_of_a_range_begins_with_the_one_before_it(data: Data) -> None:
    days = data.balance_history(CHARACTER, "2026-10-04", "2026-10-06", timedelta(days=1))
    assert [(b.at.day, b.balance, b.entry_date) for b in days] == [
        (4, Decimal("150.25"), OCTOBER + timedelta(days=1.75)),
        (5, Decimal("129.75"), OCTOBER + timedelta(days=4)),
    ]
    before = data.balance_history(CHARACTER, "2026-09-01", "2026-10-04", timedelta(days=1))
    assert [b.at.day for b in before] == [2, 3]
    assert list(data.balance_history(CHARACTER, "2026-12-01", "2026-12-09", timedelta(days=1))) == []
    for wrong in (timedelta(0), timedelta(microseconds=1), 5):
        with pytest.raises(BadInput, match="every"):
            data.balance_history(CHARACTER, every=wrong)  # type: ignore[arg-type]


def test_without_entries_there_is_no_balance(data: Data) -> None:
    assert list(data.balance_history(CHARACTER)) == []
    assert list(data.balance_history(CHARACTER, "2026-10-01", every=timedelta(days=1))) == []


def queued(skill_id: int, level: int, day: float | None, points: int | None = None) -> dict[str, Any]:
    found = {"skill_id": skill_id, "finished_level": level, "queue_position": 0}
    found |= {} if day is None else {"finish_date": iso(day)}
    return found | ({} if points is None else {"level_end_sp": points})


def test_the_skill_queue_lies_over_the_skills(
    data: Data, store: Store, absorb: Callable[..., None], clock: ManualClock
) -> None:
    absorb(history.SKILLS, skills(100, s3300=(3, 8_000), s3301=(4, 45_255), s3302=(1, 250)), OCTOBER_MS)
    queue = [
        queued(3300, 4, 5, 45_255),  # finished
        queued(3300, 5, 9),  # finished too, and higher; its points are unknown
        queued(3301, 4, 2, 45_255),  # already in /skills
        queued(3302, 2, None),  # paused
        queued(3303, 1, 6, 250),  # new
        queued(3304, 1, 30.9, 250),
    ]
    store.documents.save(CHARACTER, QUEUE, response(queue), as_of_ms=OCTOBER_MS + DAY_MS, next_due_ms=NOW_MS)
    clock.advance(seconds=-10 * 86_400)
    found = {skill.skill_id: skill for skill in data.skills(CHARACTER)}
    of_queue = OCTOBER + timedelta(days=1)
    assert list(found) == [3300, 3301, 3302, 3303]
    assert found[3300] == Skill(
        CHARACTER, 3300, 3, 3, 8_000, OCTOBER, 5, None, OCTOBER + timedelta(days=9), queue_as_of=of_queue
    )
    assert (found[3300].level, found[3300].inferred) == (5, True)
    assert [(found[3301].level, found[3301].inferred), (found[3302].level, found[3302].inferred)] == [
        (4, False),
        (1, False),
    ]
    new = (found[3303].trained_level, found[3303].skillpoints, found[3303].as_of, found[3303].inferred_skillpoints)
    assert new == (0, 0, None, 250)


def test_the_completeness_has_every_data_type(data: Data, store: Store) -> None:
    assert {name: found.complete_since_ms for name, found in data.completeness(CHARACTER).items()} == dict.fromkeys(
        ("wallet_journal", "wallet_transactions", "market_orders", "industry_jobs", "skill_history")
    )


@pytest.mark.usefixtures("october")
def test_the_completeness_has_the_holes(data: Data) -> None:
    holes = data.completeness(CHARACTER)["wallet_journal"].holes
    assert ("retention", OCTOBER_MS, OCTOBER_MS + DAY_MS) in [(h.cause, h.from_ms, h.until_ms) for h in holes]


def test_another_characters_rows_are_not_read(data: Data, store: Store, absorb: Callable[..., None]) -> None:
    absorb(history.JOURNAL, [entry(1, 0, "1", "1")])
    absorb(history.TRANSACTIONS, [transaction(1, 0, 1, "1", is_buy=True)])
    absorb(history.ORDERS, [order(1, 0, "1", 1)])
    store.logins.save(character_id=5, user_id=7, name="B", owner_hash="o", scopes=[], refresh_token="t")
    for rows in (data.journal(5), data.transactions(5), data.orders(5), data.order_events(5)):
        assert list(rows) == []
