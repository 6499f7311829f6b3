"""Paging of listings: X-Pages, from_id, last_mail_id, include_completed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.serve import SandboxServer

from .conftest import Visitor


def test_pages_of_one_listing_are_consistent_and_contain_each_row_once(trader: Visitor, sandbox: SandboxServer) -> None:
    pages = int(trader.get("/wallet/journal").headers["X-Pages"])
    ids, moments = [], set()
    for page in range(1, pages + 1):
        response = trader.get("/wallet/journal", page=page)
        ids += [row["id"] for row in response.json()]
        moments.add((response.headers["Last-Modified"], response.headers["X-Pages"]))
        sandbox.advance(60)
    assert len(moments) == 1
    assert ids == sorted(set(ids), reverse=True)


def test_a_page_beyond_the_end_is_an_empty_list(trader: Visitor) -> None:
    response = trader.get("/assets", page=99)
    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("page", ["0", "-1", "two"])
def test_an_invalid_page_is_rejected(trader: Visitor, page: str) -> None:
    response = trader.get("/assets", page=page)
    assert response.status_code == 400
    assert page in response.json()["error"]


def test_an_empty_listing_has_one_page(visit: Callable[[str], Visitor]) -> None:
    response = visit("hunter").get("/mining")
    assert (response.json(), response.headers["X-Pages"]) == ([], "1")


def test_from_id_goes_back_in_time_and_includes_its_row(trader: Visitor) -> None:
    ids = [row["transaction_id"] for row in trader.get("/wallet/transactions").json()]
    while True:
        older = [row["transaction_id"] for row in trader.get("/wallet/transactions", from_id=ids[-1]).json()]
        assert older[0] == ids[-1]
        if len(older) == 1:
            break
        ids += older[1:]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) > 2_000


def test_mail_is_returned_in_fifties_older_than_the_last_id(visit: Callable[[str], Visitor]) -> None:
    visitor = visit("industrialist")
    first = [row["mail_id"] for row in visitor.get("/mail").json()]
    second = [row["mail_id"] for row in visitor.get("/mail", last_mail_id=first[-1]).json()]
    assert len(first) == 50
    assert first + second == sorted(set(first + second), reverse=True)
    assert second


def test_mail_can_be_filtered_by_label(trader: Visitor) -> None:
    sent = trader.get("/mail", labels="2").json()
    assert sent
    assert all(2 in row["labels"] for row in sent)


def test_completed_industry_jobs_are_returned_only_on_request(visit: Callable[[str], Visitor]) -> None:
    visitor = visit("industrialist")
    running, everything = visitor.get("/industry/jobs").json(), visitor.get("/industry/jobs", include_completed="true")
    assert {row["status"] for row in running} <= {"active", "paused", "ready"}
    assert {"active", "ready", "delivered", "cancelled"} <= {row["status"] for row in everything.json()}
    assert {row["job_id"] for row in running} < {row["job_id"] for row in everything.json()}
