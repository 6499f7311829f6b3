"""A listing is complete and consistent, or it is an error; what has been read is not requested again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nomad_actors.clock import ManualClock
from nomad_actors.esi import (
    ROUTES,
    Copy,
    EsiClient,
    EsiRefused,
    EsiResponse,
    EsiUnavailable,
    ListingChanged,
    Route,
    SsoClient,
    StepEnded,
)
from nomad_actors.esi.listings import BELIEVED_FAILURES
from nomad_actors.esi.sifting import sifted
from nomad_actors.store.listing_pages import HeldListing
from sandbox.serve import SandboxServer

from .conftest import ReceivedRequest, Reply, Scripted

ASSETS = ROUTES["/characters/{character_id}/assets"]
MINING = ROUTES["/characters/{character_id}/mining"]
TRANSACTIONS = ROUTES["/characters/{character_id}/wallet/transactions"]
MAIL = ROUTES["/characters/{character_id}/mail"]
OLD, NEW = "Sun, 01 Nov 2026 11:00:00 GMT", "Sun, 01 Nov 2026 12:00:00 GMT"
#: Our copy of three pages.
THREE = Copy('"mine"', OLD, 3)

Held = Callable[[int, Route], HeldListing]
Read = Callable[..., EsiResponse]


def page(rows: list[int], pages: int | str | None, modified: str | None = OLD, etag: str = '"e"') -> Reply:
    headers = {"X-Pages": pages, "Last-Modified": modified, "ETag": etag}
    given = {name: str(value) for name, value in headers.items() if value is not None}
    return Reply(body=[{"item_id": number} for number in rows], headers=given)


def serve(scripted: Scripted, *sets: list[Reply]) -> None:
    """Serve sets of pages: each request for page 1 starts the next set; the last set stays."""
    waiting = list(sets)
    now: list[Reply] = []

    def response(received: ReceivedRequest) -> Reply:
        number = int(received.query.get("page", "1"))
        if number == 1:
            now[:] = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return now[number - 1]

    scripted.script["/characters/7/assets"] = response


@pytest.fixture
def read(scripted_esi: EsiClient, held: Held) -> Read:
    """`read(route, copy=…)`: one step of reading a listing from the scripted server."""

    def step(route: Route = ASSETS, copy: Copy | None = None) -> EsiResponse:
        return scripted_esi.get_all(
            route, character_id=7, access_token="a token", copy=copy or Copy(), held=held(7, route)
        )

    return step


@pytest.fixture
def items(read: Read) -> Callable[..., list[int]]:
    """`items(copy)`: the ids of the assets that one step reads."""
    return lambda copy=None: [row["item_id"] for row in read(ASSETS, copy).body]


def asked(scripted: Scripted) -> list[str]:
    """Return the pages that were requested, and forget them."""
    pages = [received.query.get("page", "1") for received in scripted.received]
    scripted.received.clear()
    return pages


Items = Callable[..., list[int]]


def test_all_pages_form_one_listing(items: Items, scripted: Scripted) -> None:
    serve(scripted, [page([1, 2], 3), page([3], 3), page([4, 5], 3)])
    assert items() == [1, 2, 3, 4, 5]
    assert all(received.headers["Authorization"] == "Bearer a token" for received in scripted.received)


@pytest.mark.parametrize(
    "torn",
    [
        [page([1], 2), page([2], 2, modified=NEW)],
        [page([1], 2), page([2], 2, modified=None)],
        [page([1], 2, modified=None), page([2], 2)],
        [page([1], 2), page([2], 3)],
        [page([1], 2), page([2], 1)],
        [page([1], 2), page([2], None)],
        [page([1], 2), page([2], 0)],
        [page([1], 2), page([2], -2)],
        [page([1], 2), page([2], "two")],
    ],
)
def test_pages_of_different_states_are_read_anew_after_a_pause(
    items: Items, held: Held, scripted: Scripted, torn: list[Reply]
) -> None:
    serve(scripted, torn, [page([7], 2, modified=NEW), page([8], 2, modified=NEW)])
    with pytest.raises(ListingChanged, match=r"page 2 has Last-Modified .* it is read anew") as changed:
        items()
    assert changed.value.retry_after_seconds == 10
    assert held(7, ASSETS).pages() == []
    assert asked(scripted) == ["1", "2"], "the pages are read anew at once"
    assert items() == [7, 8]


def test_pages_that_keep_changing_are_never_complete(items: Items, scripted: Scripted) -> None:
    serve(scripted, [page([1], 2), page([2], 2, modified=NEW)])
    for _ in range(6):
        with pytest.raises(ListingChanged):
            items()


@pytest.mark.parametrize(
    ("pages", "what"),
    [
        ([page([1], 3), page([2], 3), page([], 3)], "page 3 of 3 is empty"),
        ([page([1, 2], 3), page([2, 3], 3), page([4], 3)], "item_id 2 is on the pages 1 and 2"),
        ([page([1], 3), page([2], 3), page([1], 3)], "item_id 1 is on the pages 1 and 3"),
    ],
)
def test_pages_that_do_not_belong_together_are_read_anew_when_page_1_has_expired(
    items: Items, scripted: Scripted, clock: ManualClock, pages: list[Reply], what: str
) -> None:
    serve(scripted, pages, [page([7], 2), page([8], 2)])
    for _ in range(2):
        with pytest.raises(ListingChanged, match=what) as changed:
            items()
        assert changed.value.retry_after_seconds == 3_602
    assert asked(scripted) == ["1", "2", "3"], "what is fresh is requested again"
    clock.advance(seconds=3_602)
    assert items() == [7, 8]


def test_pages_that_always_repeat_an_id_are_believed_in_the_end_and_the_repetition_is_set_aside(
    read: Read, scripted: Scripted, clock: ManualClock
) -> None:
    serve(scripted, [page([1, 2], 3), page([2, 3], 3), page([4, 1], 3)])
    for failures in range(BELIEVED_FAILURES):
        with pytest.raises(ListingChanged, match="item_id 2 is on the pages 1 and 2"):
            read(ASSETS, Copy(failures=failures))
        clock.advance(seconds=3_602)
    found = read(ASSETS, Copy(failures=BELIEVED_FAILURES))
    assert [row["item_id"] for row in found.body] == [1, 2, 3, 4]
    assert [(row.row, row.reason, row.is_stored) for row in found.set_aside] == [
        ({"item_id": 2}, "item_id 2 is on the pages 1 and 2", False),
        ({"item_id": 1}, "item_id 1 is on the pages 1 and 3", False),
    ]
    # What is set aside later does not hide it.
    assert len(sifted(MINING, replace(found, body=[])).set_aside) == 2


def test_responses_that_always_repeat_the_newest_row_are_read_to_the_oldest(read: Read, scripted: Scripted) -> None:
    served = walk(list(range(20, 10, -1)), 4, "transaction_id", "from_id", inclusive=True)
    newest = {"transaction_id": 20}
    transactions(scripted, lambda received: [newest, *(row for row in served(received).body if row != newest)])
    # The last response has nothing older, as if the parameter had been ignored.
    with pytest.raises(EsiUnavailable, match="has transaction_id 20, although those up to 11 were requested"):
        read(TRANSACTIONS)
    found = read(TRANSACTIONS, Copy(failures=BELIEVED_FAILURES))
    assert [row["transaction_id"] for row in found.body] == list(range(20, 10, -1))
    assert found.set_aside
    assert {row.reason for row in found.set_aside} >= {"transaction_id 20 is in a response to transaction_id 11 too"}


def test_an_empty_page_in_the_middle_is_believed_when_it_is_read_again(
    items: Items, scripted: Scripted, clock: ManualClock
) -> None:
    # It occurs (esi-issues #914), and it may be a page that ESI failed to fill.
    serve(scripted, [page([1], 3), page([], 3), page([2], 3)])
    with pytest.raises(ListingChanged, match="page 2 of 3 is empty"):
        items()
    clock.advance(seconds=3_602)
    assert items(Copy(failures=1)) == [1, 2]


def test_rows_without_an_id_may_be_the_same_on_two_pages(read: Read, scripted: Scripted) -> None:
    scripted.script["/characters/7/mining"] = lambda _: Reply(body=[{"n": 1}, None], headers={"X-Pages": "2"})
    assert len(read(MINING).body) == 4


def test_a_page_that_does_not_exist_is_no_refusal(items: Items, scripted: Scripted, clock: ManualClock) -> None:
    gone = Reply(404, {"error": "Requested page does not exist!"})
    serve(scripted, [page([1], 2), gone], [page([7], 2), page([8], 2)])
    with pytest.raises(ListingChanged, match="page 2 of 2 does not exist") as changed:
        items()
    assert changed.value.retry_after_seconds == 3_602
    clock.advance(seconds=3_602)
    assert items() == [7, 8]


def test_a_refused_page_is_a_refusal(items: Items, scripted: Scripted) -> None:
    serve(scripted, [page([1], 2), Reply(403, {"error": "Forbidden"})])
    with pytest.raises(EsiRefused):
        items()


@pytest.mark.parametrize(
    "bad",
    [
        Reply(502, {"error": "Bad Gateway"}),
        Reply(304),
        Reply(cut=True),
        Reply(body={"error": "odd"}),
        Reply(body=None),
        Reply(body=b"[1, 2"),
    ],
    ids=["502", "304", "cut", "object", "null", "truncated"],
)
def test_a_failed_page_is_requested_again_and_no_other(items: Items, scripted: Scripted, bad: Reply) -> None:
    serve(scripted, [page([1], 3), page([2], 3), bad])
    with pytest.raises(EsiUnavailable, match="2 of 3 pages are read and kept"):
        items()
    asked(scripted)
    scripted.script["/characters/7/assets"] = lambda _: page([3], 3)
    assert items() == [1, 2, 3]
    assert asked(scripted) == ["3"]


def test_a_complete_set_that_was_not_saved_is_not_requested_again(items: Items, scripted: Scripted) -> None:
    serve(scripted, [page([1], 2), page([2], 2)])
    assert items() == items() == [1, 2]
    assert asked(scripted) == ["1", "2"]


def test_a_set_that_is_no_longer_fresh_is_read_anew(items: Items, scripted: Scripted, clock: ManualClock) -> None:
    serve(scripted, [page([1], 3), page([2], 3), Reply(502)], [page([n], 3, modified=NEW) for n in (4, 5, 6)])
    with pytest.raises(EsiUnavailable):
        items()
    clock.advance(seconds=3_602)
    asked(scripted)
    with pytest.raises(ListingChanged, match="could not be read to its end while it was fresh, only 2 of 3 pages"):
        items()
    assert asked(scripted) == []
    assert items() == [4, 5, 6]


def test_a_listing_is_not_begun_shortly_before_it_changes(items: Items, scripted: Scripted, clock: ManualClock) -> None:
    late = page([1], 2)
    late.headers["Cache-Control"] = "max-age=5"
    serve(scripted, [late, page([2], 2)], [page([7], 2), page([8], 2)])
    for _ in range(2):
        with pytest.raises(ListingChanged, match="not begun 7 s before its 2 pages change") as changed:
            items()
        assert changed.value.retry_after_seconds == 7
    assert asked(scripted) == ["1"], "page 1 is requested again while it is fresh"
    clock.advance(seconds=7)
    assert items() == [7, 8]


def test_a_step_ends_after_its_time_and_the_next_one_goes_on(
    items: Items, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(scripted, [page([1], 3), page([2], 3), page([3], 3)])
    with monkeypatch.context() as patched:
        patched.setattr("nomad_actors.esi.listings.STEP_SECONDS", 0)
        for read in (1, 2):
            with pytest.raises(StepEnded, match=f"{read} of 3 pages are read and kept; the next step goes on"):
                items()
    assert items() == [1, 2, 3]
    assert asked(scripted) == ["1", "2", "3"]


def test_two_jobs_do_not_mix_their_pages(read: Read, scripted_esi: EsiClient, scripted: Scripted, held: Held) -> None:
    """A second job reads a newer set while the first one waits for its page 2."""
    first, second = [page([n], 2) for n in (1, 2)], [page([n], 2, modified=NEW) for n in (7, 8)]
    serve(scripted, second)
    newer = scripted.script["/characters/7/assets"]
    assert callable(newer)

    def response(received: ReceivedRequest) -> Reply:
        if "page" not in received.query:
            return first[0]
        # Meanwhile another job discards the first set and reads the second one.
        other = held(7, ASSETS)
        assert [each.last_modified for each in other.pages()] == [OLD]
        other.discard()
        scripted.script["/characters/7/assets"] = newer
        assert [row["item_id"] for row in read().body] == [7, 8]
        return first[1]

    scripted.script["/characters/7/assets"] = response
    with pytest.raises(StepEnded, match="another job reads"):
        read()
    assert [row["item_id"] for row in read().body] == [7, 8]


def test_only_the_first_page_is_conditional(items: Items, scripted: Scripted) -> None:
    serve(scripted, [page([3], 2), page([4], 2)])
    assert items(Copy('"mine"', OLD, 1)) == [3, 4]
    assert [received.headers.get("If-None-Match") for received in scripted.received] == ['"mine"', None]


def test_a_copy_of_several_pages_is_compared_by_last_modified(items: Items, scripted: Scripted) -> None:
    # Page 1 may be unchanged, with its ETag, while another page has changed.
    serve(scripted, [page([3], 2), page([4], 2)])
    assert items(THREE) == [3, 4]
    conditions = [
        (received.headers.get("If-None-Match"), received.headers.get("If-Modified-Since"))
        for received in scripted.received
    ]
    assert conditions == [(None, OLD), (None, None)]


@pytest.mark.parametrize("copy", [Copy('"mine"', OLD, 1), THREE, Copy('"mine"')], ids=["one", "three", "unknown"])
@pytest.mark.parametrize("modified", [OLD, None])
@pytest.mark.parametrize("says_pages", [True, False])
def test_an_unchanged_first_page_ends_the_listing(
    read: Read, scripted: Scripted, copy: Copy, modified: str | None, says_pages: bool
) -> None:
    headers = {"Last-Modified": modified} if modified else {}
    headers |= {"X-Pages": str(copy.pages or 1)} if says_pages else {}
    scripted.reply_with("/characters/7/assets", Reply(304, headers=headers))
    response = read(ASSETS, copy)
    assert (response.not_modified, response.pages) == (True, copy.pages or 1)
    assert len(scripted.received) == 1


@pytest.mark.parametrize(
    ("copy", "headers"),
    [
        (Copy('"mine"', OLD, 1), {"X-Pages": "2"}),
        (THREE, {"X-Pages": "2"}),
        (THREE, {"X-Pages": "4", "Last-Modified": OLD}),
        (THREE, {"X-Pages": "3", "Last-Modified": NEW}),
        (THREE, {"Last-Modified": NEW}),
    ],
)
def test_a_304_of_another_listing_than_ours_is_requested_in_full(
    items: Items, scripted: Scripted, copy: Copy, headers: dict[str, str]
) -> None:
    replies = [Reply(304, headers=headers), page([1], 2), page([2], 2)]
    scripted.script["/characters/7/assets"] = lambda _: replies.pop(0)
    assert items(copy) == [1, 2]
    assert asked(scripted) == ["1", "1", "2"]


@pytest.mark.parametrize("pages", [None, "", "0", "-3", "many"])
def test_a_listing_that_had_more_pages_must_say_how_many_it_has(
    items: Items, scripted: Scripted, pages: str | None
) -> None:
    serve(scripted, [page([1], pages)], [page([1], 1)])
    with pytest.raises(EsiUnavailable, match="does not say how many pages there are; our copy has 3"):
        items(THREE)
    assert items(THREE) == [1], "a listing may become shorter"


@pytest.mark.parametrize("pages", ["1001", "999999999"])
def test_an_endless_listing_is_an_error(items: Items, scripted: Scripted, pages: str) -> None:
    scripted.reply_with("/characters/7/assets", Reply(body=[], headers={"X-Pages": pages}))
    with pytest.raises(EsiUnavailable, match="more than 1000 pages"):
        items()
    assert len(scripted.received) == 1


@pytest.mark.parametrize("pages", ["", "0", "-1", "many", "²", "9" * 5_000])
def test_an_invalid_number_of_pages_means_one_page(items: Items, scripted: Scripted, pages: str) -> None:
    scripted.reply_with("/characters/7/assets", Reply(body=[{"item_id": 1}], headers={"X-Pages": pages}))
    assert items() == items(Copy(None, OLD, 1)) == [1]


@pytest.mark.parametrize("body", [None, {"error": "odd"}, "text", 1.5])
def test_a_body_that_is_not_a_list_is_an_error(read: Read, scripted: Scripted, body: Any) -> None:
    scripted.reply_with("/characters/7/assets", Reply(body=body))
    scripted.reply_with("/characters/7/wallet/transactions", Reply(body=body))
    for route in (ASSETS, TRANSACTIONS):
        with pytest.raises(EsiUnavailable, match="not a list"):
            read(route)


def walk(
    numbers: list[int], per_answer: int, key: str, parameter: str, *, inclusive: bool
) -> Callable[[ReceivedRequest], Reply]:
    """Serve rows from the newest downwards, as ESI does."""

    def response(received: ReceivedRequest) -> Reply:
        start = int(received.query.get(parameter, "999999999"))
        rows = [n for n in numbers if n < start or (inclusive and n == start)]
        return Reply(body=[{key: n} for n in rows[:per_answer]], headers={"Last-Modified": OLD, "ETag": '"newest"'})

    return response


def transactions(scripted: Scripted, rows: Callable[[ReceivedRequest], list[Any]]) -> None:
    scripted.script["/characters/7/wallet/transactions"] = lambda received: Reply(body=rows(received))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 11])
def test_transactions_are_read_to_the_oldest_each_row_once(read: Read, scripted: Scripted, count: int) -> None:
    numbers = list(range(5_000 + count, 5_000, -1))
    path = "/characters/7/wallet/transactions"
    scripted.script[path] = walk(numbers, 3, "transaction_id", "from_id", inclusive=True)
    response = read(TRANSACTIONS)
    assert [row["transaction_id"] for row in response.body] == numbers
    assert (response.etag, response.pages) == ('"newest"', len(scripted.received))


def test_transactions_are_read_on_from_the_oldest_that_is_held(read: Read, scripted: Scripted) -> None:
    numbers, path = list(range(20, 10, -1)), "/characters/7/wallet/transactions"
    served = walk(numbers, 4, "transaction_id", "from_id", inclusive=True)
    scripted.script[path] = lambda received: Reply(502) if received.query.get("from_id") == "14" else served(received)
    with pytest.raises(EsiUnavailable, match="2 responses are read and kept"):
        read(TRANSACTIONS)
    scripted.received.clear()
    scripted.script[path] = served
    assert [row["transaction_id"] for row in read(TRANSACTIONS).body] == numbers
    assert [received.query["from_id"] for received in scripted.received] == ["14", "11"]


@pytest.mark.parametrize("bad", [{"amount": 1}, {"transaction_id": "x"}, {"transaction_id": True}, 5, None])
def test_a_row_without_its_id_is_left_to_those_who_store_it(read: Read, scripted: Scripted, bad: Any) -> None:
    transactions(scripted, lambda received: [{"transaction_id": 4}, bad] if not received.query else [bad])
    with pytest.raises(EsiUnavailable, match="no row with transaction_id"):
        read(TRANSACTIONS)
    transactions(scripted, lambda received: [{"transaction_id": 4}])
    assert read(TRANSACTIONS).body == [{"transaction_id": 4}, bad]


def test_a_response_for_another_id_than_the_requested_one_is_an_error(read: Read, scripted: Scripted) -> None:
    # Without this check a listing whose `from_id` is ignored would seem to end there.
    transactions(scripted, lambda _: [{"transaction_id": 9}, {"transaction_id": 8}])
    with pytest.raises(EsiUnavailable, match="has transaction_id 9, although those up to 8 were requested"):
        read(TRANSACTIONS)


def test_mail_is_read_to_the_oldest(read: Read, scripted: Scripted) -> None:
    numbers = list(range(107, 100, -1))
    scripted.script["/characters/7/mail"] = walk(numbers, 3, "mail_id", "last_mail_id", inclusive=False)
    assert [row["mail_id"] for row in read(MAIL).body] == numbers


def test_an_unchanged_first_response_ends_the_listing(read: Read, scripted: Scripted) -> None:
    scripted.reply_with("/characters/7/mail", Reply(304))
    assert read(MAIL, Copy('"mine"')).not_modified


def test_an_endless_walk_is_an_error(monkeypatch: pytest.MonkeyPatch, read: Read, scripted: Scripted) -> None:
    monkeypatch.setattr("nomad_actors.esi.listings.MAX_PAGES", 5)
    scripted.script["/characters/7/mail"] = lambda received: Reply(
        body=[{"mail_id": int(received.query.get("last_mail_id", "1000")) - 1}]
    )
    for _ in range(2):
        with pytest.raises(EsiUnavailable, match="more than 5 pages") as endless:
            read(MAIL)
        # As a useless body: in the end it is refused, and requested less and less often.
        assert endless.value.status == 200
    assert len(scripted.received) == 5


def test_a_snapshot_that_changes_between_two_pages_is_read_anew(
    esi: EsiClient, sso: SsoClient, sandbox: SandboxServer, held: Held
) -> None:
    hoarder = next(each for each in sandbox.logins() if each["profession"] == "trader")
    tokens = sso.refresh(hoarder["refresh_token"])
    sandbox.fail("*/assets", query={"page": "2"}, renew=True)

    def assets() -> EsiResponse:
        listing = held(tokens.character_id, ASSETS)
        return esi.get_all(
            ASSETS, character_id=tokens.character_id, access_token=tokens.access_token, copy=Copy(), held=listing
        )

    with pytest.raises(ListingChanged):
        assets()
    complete = assets()
    assert complete.pages > 1
    assert len({row["item_id"] for row in complete.body}) == len(complete.body)
    assert sandbox.conduct()["violations"] == []
