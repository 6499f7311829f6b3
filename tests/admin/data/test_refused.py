"""Wrong input over HTTP: each answer names the value and what is allowed."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import requests

from nomad_actors.store.history.orders import STATES

from .conftest import ADA, BO, TOKENS, Admin


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("journal?from=yesterday", ["'yesterday'", "2026-11-01", "ms since the epoch"]),
        ("journal?from=2026", ["'2026'", "12 to 15 digits"]),
        ("journal?from=1793491200", ["'1793491200'", "12 to 15 digits"]),
        ("journal?from=2026-02-30", ["'2026-02-30'", "2026-11-01T12:00:00Z"]),
        ("journal?to=2026-11-01T00:00:00 03:00", ["2026-11-01T12:00:00Z"]),
        ("journal?to=999999999999999", ["'999999999999999'", "253402300799999"]),
        ("journal?to=" + "9" * 400, ["253402300799999"]),
        ("journal?from=2026-11-02&to=2026-11-01", ["'from' is '2026-11-02', which is after 'to', '2026-11-01'"]),
        ("journal?from=2026-11-01T03:00:00%2B02:00&to=2026-11-01T00:59:59Z", ["'from' is", "after 'to'"]),
        ("skills/history?from=253402300799999&to=0", ["'from' is '253402300799999'", "after 'to'"]),
        ("journal?limit=0", ["from 1 to 10000"]),
        ("journal?limit=100001", ["100001", "from 1 to 10000"]),
        ("journal?limit=1&limit=2", ["'limit' is given 2 times", "once"]),
        ("journal?since=1", ["unknown query parameter 'since'", "from, to"]),
        ("journal?refTypes=", ["refTypes", "letters a to z"]),
        ("journal?refTypes=a%00b", ["refTypes", "letters a to z"]),
        ("journal?refTypes=" + ",".join(f"a{n}" for n in range(101)), ["101 values", "1 to 100"]),
        ("transactions?typeIds=34,tritanium", ["'tritanium'", "digits"]),
        ("orders?states=fild", ["'fild'", "did you mean 'filled'", *STATES]),
        ("orders/events?orderId=-1", ["orderId", "from 0"]),
        ("skills?limit=1", ["unknown query parameter 'limit'"]),
        ("journal?cursor=abc", ["cursor 'abc'", "`nextCursor`"]),
    ],
)
def test_a_wrong_value_is_422_and_says_what_is_allowed(admin: Admin, path: str, texts: list[str]) -> None:
    for accept in ("application/json", "application/x-ndjson"):
        response = admin.get(f"{ADA}/{path}", Accept=accept)
        assert (response.status_code, response.headers["Content-Type"]) == (422, "application/problem+json")
        detail = response.json()["detail"]
        assert all(text in detail for text in texts), detail


def test_a_cursor_belongs_to_its_query(admin: Admin) -> None:
    cursor = quote(admin.rows(f"{ADA}/journal?limit=2&from=2026-11-01")["nextCursor"])
    good = f"journal?from=2026-11-01&cursor={cursor}"
    assert [row["id"] for row in admin.rows(f"{ADA}/{good}&limit=1")["rows"]] == [3]
    for path in (
        f"{ADA}/journal?cursor={cursor}",
        f"{ADA}/{good}&newestFirst=true",
        f"{ADA}/{good}&refTypes=bounty_prizes",
        f"{ADA}/{good[:-1]}",
        f"{ADA}/{good}9999999999999999999999",
        f"{ADA}/transactions?from=2026-11-01&cursor={cursor}",
        f"{BO}/{good}",
    ):
        response = admin.get(path)
        assert response.status_code == 422, (path, response.text)
        assert "is not of this query" in response.json()["detail"]


@pytest.mark.parametrize("character", ["90000009", "ada", "9" * 40, "-1", "0x10", "%20", "1e5"])
@pytest.mark.parametrize("path", ["journal", "documents/wallet", "completeness", "skills"])
def test_a_character_that_never_logged_in_is_404(admin: Admin, character: str, path: str) -> None:
    response = admin.get(f"{character}/{path}")
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")


def test_an_unknown_dataset_is_404_with_the_nearest_names(admin: Admin) -> None:
    response = admin.get(f"{ADA}/documents/wallet_jurnal")
    assert response.status_code == 404
    assert "did you mean 'wallet_journal'" in response.json()["detail"]
    assert "skillqueue" in response.json()["accepted"]


def test_a_document_that_was_not_collected_is_404(admin: Admin) -> None:
    response = admin.get(f"{BO}/documents/wallet_journal")
    assert response.status_code == 404
    assert "nothing was collected yet" in response.json()["detail"]


def test_nothing_of_it_can_be_changed(admin: Admin) -> None:
    for role, status in (("operator", 405), ("reader", 403)):
        header = {"Authorization": f"Bearer {TOKENS[role]}"}
        for method in ("POST", "PUT", "DELETE"):
            url = f"{admin.url}/data/characters/{ADA}/journal"
            assert requests.request(method, url, headers=header, timeout=20).status_code == status
