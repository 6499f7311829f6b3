"""A listing is complete and consistent, or it is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nomad_actors.esi import ROUTES, EsiClient, EsiResponse, EsiUnavailable, SsoClient
from nomad_actors.esi.listings import SET_ATTEMPTS
from sandbox.serve import SandboxServer

from .conftest import ReceivedRequest, Reply, Scripted

ASSETS = ROUTES["/characters/{character_id}/assets"]
TRANSACTIONS = ROUTES["/characters/{character_id}/wallet/transactions"]
MAIL = ROUTES["/characters/{character_id}/mail"]
OLD, NEW = "Sun, 01 Nov 2026 11:00:00 GMT", "Sun, 01 Nov 2026 12:00:00 GMT"


def page(rows: list[int], pages: int, modified: str = OLD, etag: str = '"e"') -> Reply:
    body = [{"item_id": number} for number in rows]
    return Reply(body=body, headers={"X-Pages": str(pages), "Last-Modified": modified, "ETag": etag})


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


def items(esi: EsiClient, etag: str | None = None) -> list[int]:
    response = esi.get_all(ASSETS, character_id=7, access_token="a token", etag=etag)
    return [row["item_id"] for row in response.body]


def test_all_pages_form_one_listing(scripted_esi: EsiClient, scripted: Scripted) -> None:
    # Short and empty pages occur in the middle (esi-issues #914).
    serve(scripted, [page([1, 2], 4), page([3], 4), page([], 4), page([4, 5], 4)])
    assert items(scripted_esi) == [1, 2, 3, 4, 5]
    assert all(received.headers["Authorization"] == "Bearer a token" for received in scripted.received)


@pytest.mark.parametrize(
    "torn",
    [
        [page([1], 2), page([2], 2, modified=NEW)],
        [page([1], 2), page([2], 3)],
        [page([1], 2), page([2], 1)],
    ],
)
def test_pages_of_different_states_are_read_again(
    scripted_esi: EsiClient, scripted: Scripted, torn: list[Reply]
) -> None:
    serve(scripted, torn, [page([7], 2, modified=NEW), page([8], 2, modified=NEW)])
    assert items(scripted_esi) == [7, 8]


def test_pages_that_keep_changing_are_an_error(scripted_esi: EsiClient, scripted: Scripted) -> None:
    serve(scripted, [page([1], 2), page([2], 2, modified=NEW)])
    with pytest.raises(EsiUnavailable, match="changed while they were read, 3 times"):
        items(scripted_esi)
    assert len(scripted.received) == SET_ATTEMPTS * 2


def test_only_the_first_page_is_conditional_and_only_on_the_first_attempt(
    scripted_esi: EsiClient, scripted: Scripted
) -> None:
    serve(scripted, [page([1], 2), page([2], 2, modified=NEW)], [page([3], 2), page([4], 2)])
    assert items(scripted_esi, etag='"mine"') == [3, 4]
    assert [received.headers.get("If-None-Match") for received in scripted.received] == ['"mine"', None, None, None]


def test_an_unchanged_first_page_ends_the_listing(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with("/characters/7/assets", Reply(304))
    assert scripted_esi.get_all(ASSETS, character_id=7, access_token=None, etag='"mine"').not_modified
    assert len(scripted.received) == 1


def test_a_failed_page_fails_the_listing(scripted_esi: EsiClient, scripted: Scripted) -> None:
    serve(scripted, [page([1], 2), Reply(502, {"error": "Bad Gateway"})])
    with pytest.raises(EsiUnavailable, match="502"):
        items(scripted_esi)


@pytest.mark.parametrize("pages", ["1001", "999999999"])
def test_an_endless_listing_is_an_error(scripted_esi: EsiClient, scripted: Scripted, pages: str) -> None:
    scripted.reply_with("/characters/7/assets", Reply(body=[], headers={"X-Pages": pages}))
    with pytest.raises(EsiUnavailable, match="more than 1000 pages"):
        items(scripted_esi)
    assert len(scripted.received) == 1


@pytest.mark.parametrize("pages", ["", "0", "many", "²", "9" * 5_000])
def test_an_invalid_number_of_pages_means_one_page(scripted_esi: EsiClient, scripted: Scripted, pages: str) -> None:
    scripted.reply_with("/characters/7/assets", Reply(body=[{"item_id": 1}], headers={"X-Pages": pages}))
    assert items(scripted_esi) == [1]


@pytest.mark.parametrize("body", [None, {"error": "odd"}, "text", 1.5])
def test_a_body_that_is_not_a_list_is_an_error(scripted_esi: EsiClient, scripted: Scripted, body: Any) -> None:
    scripted.reply_with("/characters/7/assets", Reply(body=body))
    scripted.reply_with("/characters/7/wallet/transactions", Reply(body=body))
    for route in (ASSETS, TRANSACTIONS):
        with pytest.raises(EsiUnavailable, match="not a list"):
            scripted_esi.get_all(route, character_id=7, access_token=None)


@pytest.mark.parametrize("row", [{"amount": 1}, {"transaction_id": "x"}, 5, None])
def test_rows_that_all_lack_their_id_are_an_error(scripted_esi: EsiClient, scripted: Scripted, row: Any) -> None:
    scripted.reply_with("/characters/7/wallet/transactions", Reply(body=[row]))
    with pytest.raises(EsiUnavailable, match="has no row with transaction_id"):
        scripted_esi.get_all(TRANSACTIONS, character_id=7, access_token=None)


def walk(
    numbers: list[int], per_answer: int, key: str, parameter: str, *, inclusive: bool
) -> Callable[[ReceivedRequest], Reply]:
    """Serve rows from the newest downwards, as ESI does."""

    def response(received: ReceivedRequest) -> Reply:
        start = int(received.query.get(parameter, "999999999"))
        rows = [n for n in numbers if n < start or (inclusive and n == start)]
        return Reply(body=[{key: n} for n in rows[:per_answer]], headers={"Last-Modified": OLD, "ETag": '"newest"'})

    return response


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 11])
def test_transactions_are_read_to_the_oldest_each_row_once(
    scripted_esi: EsiClient, scripted: Scripted, count: int
) -> None:
    numbers = list(range(5_000 + count, 5_000, -1))
    path = "/characters/7/wallet/transactions"
    scripted.script[path] = walk(numbers, 3, "transaction_id", "from_id", inclusive=True)
    response = scripted_esi.get_all(TRANSACTIONS, character_id=7, access_token=None)
    assert [row["transaction_id"] for row in response.body] == numbers
    assert (response.etag, response.pages) == ('"newest"', len(scripted.received))


def test_mail_is_read_to_the_oldest(scripted_esi: EsiClient, scripted: Scripted) -> None:
    numbers = list(range(107, 100, -1))
    scripted.script["/characters/7/mail"] = walk(numbers, 3, "mail_id", "last_mail_id", inclusive=False)
    response = scripted_esi.get_all(MAIL, character_id=7, access_token=None)
    assert [row["mail_id"] for row in response.body] == numbers


def test_an_unchanged_first_response_ends_the_listing(scripted_esi: EsiClient, scripted: Scripted) -> None:
    scripted.reply_with("/characters/7/mail", Reply(304))
    assert scripted_esi.get_all(MAIL, character_id=7, access_token=None, etag='"mine"').not_modified


def test_an_endless_walk_is_an_error(
    monkeypatch: pytest.MonkeyPatch, scripted_esi: EsiClient, scripted: Scripted
) -> None:
    monkeypatch.setattr("nomad_actors.esi.listings.MAX_PAGES", 5)
    scripted.script["/characters/7/mail"] = lambda received: Reply(
        body=[{"mail_id": int(received.query.get("last_mail_id", "1000")) - 1}]
    )
    with pytest.raises(EsiUnavailable, match="more than 5 pages"):
        scripted_esi.get_all(MAIL, character_id=7, access_token=None)
    assert len(scripted.received) == 5


def test_a_snapshot_that_changes_between_two_pages_is_read_again(
    esi: EsiClient, sso: SsoClient, sandbox: SandboxServer
) -> None:
    hoarder = next(each for each in sandbox.logins() if each["profession"] == "trader")
    tokens = sso.refresh(hoarder["refresh_token"])

    def assets() -> EsiResponse:
        return esi.get_all(ASSETS, character_id=tokens.character_id, access_token=tokens.access_token)

    all_assets = assets()
    assert all_assets.pages > 1
    sandbox.fail("*/assets", query={"page": "2"}, renew=True)
    second = assets()
    assert second.last_modified != all_assets.last_modified
    assert len({row["item_id"] for row in second.body}) == len(second.body)
    pages = [
        request.query.get("page", "1") for request in sandbox.requests(f"/characters/{tokens.character_id}/assets")
    ]
    assert pages[all_assets.pages :][:4] == ["1", "2", "1", "2"]
