"""Freshness and validators: a response is valid until it expires, an ETag depends only on the content."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
import requests

from sandbox.serve import SandboxServer

from .conftest import NOW_S, Visitor


def seconds(response: requests.Response, header: str) -> int:
    """Return an HTTP date as seconds since the Unix epoch."""
    return int(parsedate_to_datetime(response.headers[header]).timestamp())


def test_a_response_has_its_time_and_its_expiry(trader: Visitor, sandbox: SandboxServer) -> None:
    trader.get("/wallet/journal")
    sandbox.advance(600)
    response = trader.get("/wallet/journal")
    assert response.headers["Cache-Control"] == "private, max-age=3000"
    assert seconds(response, "Last-Modified") == NOW_S
    assert seconds(response, "Expires") == NOW_S + 3_600
    assert seconds(response, "Date") == NOW_S + 600
    assert len(response.raw.headers.getlist("Date")) == 1


def test_a_known_etag_gets_a_304_without_a_body_but_with_all_headers(trader: Visitor) -> None:
    first = trader.get("/wallet/journal")
    second = trader.get("/wallet/journal", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.content) == (304, b"")
    for header in ("ETag", "Last-Modified", "Expires", "Cache-Control", "X-Pages"):
        assert second.headers[header] == first.headers[header]


@pytest.mark.parametrize("form", ["W/{}", '"other", {}', "*"])
def test_etags_are_compared_weakly_and_in_lists(trader: Visitor, form: str) -> None:
    etag = trader.get("/skills").headers["ETag"]
    assert trader.get("/skills", headers={"If-None-Match": form.format(etag)}).status_code == 304


def test_if_modified_since_is_honoured_too(trader: Visitor) -> None:
    made = trader.get("/assets").headers["Last-Modified"]
    assert trader.get("/assets", headers={"If-Modified-Since": made}).status_code == 304
    long_ago = {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}
    assert trader.get("/assets", headers=long_ago).status_code == 200


def test_new_rows_appear_only_after_the_expiry(trader: Visitor, sandbox: SandboxServer) -> None:
    first = trader.get("/wallet/journal")
    sandbox.advance(3_599)
    trader.renew()
    assert trader.get("/wallet/journal").content == first.content
    sandbox.advance(2)
    response = trader.get("/wallet/journal", headers={"If-None-Match": first.headers["ETag"]})
    assert response.status_code == 200
    assert response.headers["ETag"] != first.headers["ETag"]
    assert response.json()[0]["id"] > first.json()[0]["id"]
    assert seconds(response, "Last-Modified") == NOW_S + 3_601


def test_the_etag_of_an_unchanged_document_survives_its_expiry(trader: Visitor, sandbox: SandboxServer) -> None:
    first = trader.get("/attributes")
    sandbox.advance(600)
    second = trader.get("/attributes", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status_code == 304
    assert second.headers["Last-Modified"] != first.headers["Last-Modified"]


def test_expires_means_nothing_on_event_based_routes(trader: Visitor) -> None:
    response = trader.get("/skills")
    assert response.headers["Cache-Control"] == "private, max-age=60"
    assert response.headers["Expires"] == response.headers["Date"]


def test_routes_without_scope_are_public(trader: Visitor) -> None:
    assert trader.get("").headers["Cache-Control"] == "public, max-age=86400"


def test_posts_carry_no_cache_headers(trader: Visitor) -> None:
    item = trader.get("/assets").json()[0]["item_id"]
    assert not {"ETag", "Expires", "Cache-Control"} & set(trader.post("/assets/names", [item]).headers)


def test_the_compatibility_date_is_echoed_as_the_one_used(trader: Visitor) -> None:
    def used(date: str) -> str:
        return trader.get("/skills", headers={"X-Compatibility-Date": date}).headers["X-Compatibility-Date"]

    assert trader.get("/skills").headers["X-Compatibility-Date"] == "2020-01-01"
    assert used("2026-07-17") == "2026-07-17"
    assert used("2026-07-20") == "2026-07-17"
    refused = trader.get("/skills", headers={"X-Compatibility-Date": "2030-01-01"})
    assert refused.status_code == 400
    assert "2030-01-01" in refused.json()["error"]


def test_every_response_has_a_unique_request_id(trader: Visitor) -> None:
    ids = {trader.get(path).headers["X-ESI-Request-ID"] for path in ("/skills", "/skills", "/nothing")}
    assert len(ids) == 3
